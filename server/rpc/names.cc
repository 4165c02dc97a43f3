#include "server/rpc/names.h"

#include <algorithm>
#include <functional>

#include "nursery/core/status.h"
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

std::string PageToken(std::string_view position, std::string_view asked) {
  return std::string(position) + "~" + std::to_string(std::hash<std::string_view>()(asked));
}

absl::StatusOr<std::string> ParsePageToken(std::string_view token, std::string_view asked) {
  if (token.empty()) return std::string();
  const std::string_view position = token.substr(0, token.rfind('~'));
  if (token == PageToken(position, asked)) return std::string(position);
  return WithReason(Error(absl::StatusCode::kInvalidArgument,
                          "page_token: is not that of the page before; filter, order and parent "
                          "must stay the same"),
                    v1::ERROR_REASON_INVALID_PAGE_TOKEN);
}

absl::StatusOr<size_t> ParseOrder(std::string_view order_by,
                                  std::initializer_list<std::string_view> orders) {
  const auto* const found = std::find(orders.begin(), orders.end(), order_by);
  if (order_by.empty()) return size_t{0};
  if (found != orders.end()) return static_cast<size_t>(found - orders.begin());
  std::string known;
  for (std::string_view order : orders) {
    known += (known.empty() ? "'" : " or '") + std::string(order) + "'";
  }
  return WithReason(Error(absl::StatusCode::kInvalidArgument,
                          "order_by: must be " + known + ", not '" + std::string(order_by) + "'"),
                    v1::ERROR_REASON_INVALID_FILTER);
}

}  // namespace nursery::rpc
