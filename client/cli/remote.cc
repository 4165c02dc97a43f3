#include "client/cli/remote.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "client/cli/node_view.h"
#include "client/cli/text.h"
#include "nursery/client/error.h"
#include "nursery/core/status.h"
#include "server/app/places.h"

namespace nursery::cli {
namespace {

constexpr int kPage = 1000;
// Further back nobody looks by name.
constexpr int kMaxPages = 20;

// Adds the page that `request` asks for, and makes it ask for the next one.
absl::Status AddPage(client::Connection& connection, const v1::Job& job,
                     const client::CallOptions& call, v1::ListNodesRequest* request,
                     std::vector<engine::NodeView>* nodes) {
  request->set_parent(job.name());
  request->set_page_size(kPage);
  absl::StatusOr<v1::ListNodesResponse> response = connection.ListNodes(*request, call);
  if (!response.ok()) return response.status();
  for (const v1::Node& node : response->nodes()) nodes->push_back(ViewOf(node, job));
  request->set_page_token(response->next_page_token());
  return absl::OkStatus();
}

}  // namespace

std::string ServerVariable() {
  const char* const variable = std::getenv("NURSERY_SERVER");
  return variable == nullptr ? "" : variable;
}

std::string AddressOf(const ServerOptions& options) {
  if (!options.server.empty()) return options.server;
  const std::string variable = ServerVariable();
  return variable.empty() ? "unix:" + app::DefaultSocket() : variable;
}

absl::StatusOr<std::unique_ptr<client::Connection>> Connect(const ServerOptions& options) {
  client::ConnectOptions connect;
  connect.address = AddressOf(options);
  connect.token_file = options.token_file;
  connect.tls_ca_file = options.tls_ca_file;
  connect.tls_certificate_file = options.tls_certificate_file;
  connect.tls_key_file = options.tls_key_file;
  return client::Connection::Open(connect);
}

int ComplainOf(const absl::Status& status) {
  std::fprintf(stderr, "error: %s\n", Printable(Message(status)).c_str());
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      // One that says so itself, as it stops, is there.
      if (client::ReasonOf(status).empty()) {
        std::fputs(
            "  start one with 'nurseryd', name one with --server or NURSERY_SERVER, or use "
            "'nursery run' without either, which needs none\n",
            stderr);
      }
      return kNoServer;
    case absl::StatusCode::kResourceExhausted:
      return kRefused;
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    default:
      return kFailed;
  }
}

void WarnOfLimits(const v1::Job& job) {
  for (const std::string& limit : job.limits_not_enforced()) {
    std::fprintf(stderr, "warning: %s\n", Printable(limit).c_str());
  }
}

absl::StatusOr<v1::Job> FindJob(client::Connection& connection, const std::string& word) {
  v1::GetJobRequest exact;
  exact.set_name("jobs/" + word);
  exact.set_view(v1::JOB_VIEW_FULL);
  constexpr size_t kIdLength = 26;
  if (word.size() == kIdLength) {
    absl::StatusOr<v1::Job> job = connection.GetJob(exact);
    // A name may be as long as an id.
    if (!absl::IsNotFound(job.status())) return job;
  }
  std::vector<v1::Job> by_id;
  std::optional<v1::Job> by_name;
  v1::ListJobsRequest request;
  request.set_page_size(kPage);
  for (int page = 0; page < kMaxPages; ++page) {
    absl::StatusOr<v1::ListJobsResponse> response = connection.ListJobs(request);
    if (!response.ok()) return response.status();
    for (const v1::Job& job : response->jobs()) {
      if (job.id().starts_with(word)) by_id.push_back(job);
      // The newest comes first.
      if (!by_name && job.display_name() == word) by_name = job;
    }
    if (response->next_page_token().empty()) break;
    request.set_page_token(response->next_page_token());
  }
  if (by_id.size() > 1) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "'" + word + "' begins the ids of " + std::to_string(by_id.size()) + " jobs, as " +
                     by_id[0].id() + " and " + by_id[1].id());
  }
  if (by_id.empty() && !by_name) {
    return Error(absl::StatusCode::kNotFound,
                 "no job has the id or the name '" + word + "'; see: nursery ls");
  }
  exact.set_name(by_id.empty() ? by_name->name() : by_id[0].name());
  return connection.GetJob(exact);
}

absl::StatusOr<std::vector<engine::NodeView>> ListNodes(client::Connection& connection,
                                                        const v1::Job& job,
                                                        const std::string& filter, size_t limit,
                                                        const client::CallOptions& call) {
  std::vector<engine::NodeView> nodes;
  v1::ListNodesRequest request;
  request.set_filter(filter);
  do {
    absl::Status listed = AddPage(connection, job, call, &request, &nodes);
    if (!listed.ok()) return listed;
  } while (!request.page_token().empty() && nodes.size() < limit);
  return nodes;
}

absl::StatusOr<std::vector<engine::NodeView>> ListUrgentNodes(client::Connection& connection,
                                                              const v1::Job& job,
                                                              const client::CallOptions& call) {
  std::vector<engine::NodeView> nodes;
  v1::ListNodesRequest request;
  request.set_order_by("urgent");
  absl::Status listed = AddPage(connection, job, call, &request, &nodes);
  if (!listed.ok()) return listed;
  return nodes;
}

}  // namespace nursery::cli
