#include "server/rpc/names.h"

#include <algorithm>

#include "server/rpc/errors.h"

namespace nursery::rpc {
namespace {

constexpr std::string_view kJobs = "jobs/";
constexpr std::string_view kNodes = "/nodes/";
constexpr int kDefaultPage = 50;
constexpr int kLargestPage = 1000;

}  // namespace

absl::StatusOr<std::string> ParseJobName(std::string_view name, std::string_view field) {
  const std::string_view id = name.substr(std::min(kJobs.size(), name.size()));
  if (!name.starts_with(kJobs) || id.empty() || id.find('/') != std::string_view::npos) {
    return InvalidField(field, "must be jobs/ID, not '" + std::string(name) + "'");
  }
  return std::string(id);
}

absl::StatusOr<NodeName> ParseNodeName(std::string_view name, std::string_view field) {
  const size_t nodes = name.find(kNodes);
  absl::StatusOr<std::string> job = ParseJobName(name.substr(0, nodes), field);
  if (!job.ok()) return job.status();
  NodeName parsed;
  parsed.job = *std::move(job);
  if (nodes != std::string_view::npos) parsed.path = name.substr(nodes + kNodes.size());
  return parsed;
}

std::string NameOfNode(std::string_view job, std::string_view path) {
  std::string name = std::string(kJobs) + std::string(job);
  if (!path.empty()) name += std::string(kNodes) + std::string(path);
  return name;
}

absl::StatusOr<int> PageSize(int wanted) {
  if (wanted < 0) return InvalidField("page_size", "must not be negative");
  return wanted == 0 ? kDefaultPage : std::min(wanted, kLargestPage);
}

}  // namespace nursery::rpc
