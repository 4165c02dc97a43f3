// The methods of JobService that are about all jobs or nodes that fit.
#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>

#include "nursery/core/status.h"
#include "server/rpc/audit.h"
#include "server/rpc/describe_node.h"
#include "server/rpc/errors.h"
#include "server/rpc/filter.h"
#include "server/rpc/job_service.h"
#include "server/rpc/job_view.h"
#include "server/rpc/names.h"

namespace nursery::rpc {
namespace {

// Jobs that one call of ListJobs compares with its filter.
constexpr size_t kJobsPerCall = 1'000;
constexpr int kSampledNames = 100;
// No job is larger than all may be together.
constexpr size_t kMaxNodesListed = 1'000'000;

bool HasFailed(const engine::NodeView& node) {
  return node.state == engine::NodeState::kFailed ||
         node.state == engine::NodeState::kDeadlineExceeded;
}

// The nodes at or below the request's path, in its order; of those that are urgent the `limit` that
// matter most of what fits. NOT_FOUND: there is no such path.
absl::StatusOr<std::vector<engine::NodeView>> NodesBelow(const engine::Job& job,
                                                         const v1::ListNodesRequest& request,
                                                         const Filter& filter, size_t limit) {
  absl::StatusOr<size_t> order = ParseOrder(request.order_by(), {"path", "failed_first", "urgent"});
  if (!order.ok()) return order.status();
  const bool urgent = *order == 2;
  const size_t most = urgent && filter.empty() ? limit : kMaxNodesListed;
  std::vector<engine::NodeView> nodes = job.View(most, request.path(), request.depth());
  if (nodes.empty()) return NoNode(job, request.path());
  if (urgent && !filter.empty()) {
    std::erase_if(
        nodes, [&](const engine::NodeView& node) { return !filter.Fits(ToProto(node, job.id())); });
  }
  if (urgent) return engine::KeepUrgent(std::move(nodes), limit);
  if (*order == 0) return nodes;
  std::vector<engine::NodeView> ordered;
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(ordered), HasFailed);
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(ordered), std::not_fn(HasFailed));
  return ordered;
}

// Where a page goes on that comes after `after`: the number of nodes that were listed before, "/",
// and the path of the last. Nodes may have come or gone meanwhile.
size_t PlaceAfter(const std::vector<engine::NodeView>& nodes, const std::string& after) {
  if (after.empty()) return 0;
  size_t at = 0;
  std::from_chars(after.data(), after.data() + after.size(), at);
  const std::string last = after.substr(after.find('/') + 1);
  if (at > 0 && at <= nodes.size() && nodes[at - 1].path == last) return at;
  const auto found = std::find_if(nodes.begin(), nodes.end(),
                                  [&](const engine::NodeView& node) { return node.path == last; });
  if (found == nodes.end()) return std::min(at, nodes.size());
  return static_cast<size_t>(found - nodes.begin()) + 1;
}

}  // namespace

absl::StatusOr<v1::ListJobsResponse> JobService::ListJobs(const v1::ListJobsRequest& request) {
  absl::StatusOr<size_t> order =
      ParseOrder(request.order_by(), {"create_time desc", "create_time"});
  if (!order.ok()) return order.status();
  absl::StatusOr<Filter> filter = Filter::Parse(request.filter(), Filter::Of::kJobs);
  if (!filter.ok()) return filter.status();
  absl::StatusOr<int> size = PageSize(request.page_size());
  if (!size.ok()) return size.status();
  const std::string asked = std::to_string(*order) + request.filter();
  absl::StatusOr<std::string> after = ParsePageToken(request.page_token(), asked);
  if (!after.ok()) return after.status();
  v1::ListJobsResponse response;
  // A page of a filter that fits little is short, so that no call looks at more than one batch.
  const size_t batch = filter->empty() ? static_cast<size_t>(*size) : kJobsPerCall;
  const auto jobs = *order == 0 ? table_.List(*after, batch) : table_.ListOldest(*after, batch);
  std::string last;
  size_t bytes = 0;
  for (const JobPtr& job : jobs) {
    if (response.jobs_size() == *size || bytes > kJobsBytes) break;
    last = job->id();
    v1::Job described = job->Describe();
    if (!filter->Fits(described)) continue;
    *response.add_jobs() = Viewed(std::move(described), request.view());
    bytes += response.jobs().rbegin()->ByteSizeLong();
  }
  const bool looked_at_all = jobs.size() < batch && (jobs.empty() || last == jobs.back()->id());
  if (!looked_at_all) response.set_next_page_token(PageToken(last, asked));
  return response;
}

absl::StatusOr<v1::CancelJobsResponse> JobService::CancelJobs(
    const Session& session, const v1::CancelJobsRequest& request) {
  if (request.filter().empty()) return InvalidField("filter", "is required");
  NURSERY_RETURN_IF_ERROR(CheckReason(request.reason()));
  absl::StatusOr<Filter> filter = Filter::Parse(request.filter(), Filter::Of::kJobs);
  if (!filter.ok()) return filter.status();
  v1::CancelJobsResponse response;
  for (const JobPtr& job : table_.Live()) {
    if (!filter->Fits(job->Describe())) continue;
    response.set_count(response.count() + 1);
    if (response.sample_size() < kSampledNames) response.add_sample("jobs/" + job->id());
    if (!request.force()) continue;
    engine::CancelRequest cancel;
    cancel.reason = request.reason();
    cancel.actor = session.identity().name;
    cancel.kill = request.mode() == v1::CANCEL_MODE_KILL;
    Audit(table_.engine().clock().WallNow(), session.identity(), "CancelJobs", job->id(),
          request.reason());
    job->Cancel(cancel).IgnoreError();
  }
  return response;
}

absl::StatusOr<v1::ListNodesResponse> JobService::ListNodes(const v1::ListNodesRequest& request) {
  absl::StatusOr<Filter> filter = Filter::Parse(request.filter(), Filter::Of::kNodes);
  if (!filter.ok()) return filter.status();
  absl::StatusOr<int> size = PageSize(request.page_size());
  if (!size.ok()) return size.status();
  if (request.depth() < 0) return InvalidField("depth", "must not be negative");
  const std::string asked = request.parent() + "|" + request.path() + "|" + request.order_by() +
                            "|" + std::to_string(request.depth()) + "|" + request.filter();
  absl::StatusOr<std::string> after = ParsePageToken(request.page_token(), asked);
  if (!after.ok()) return after.status();
  absl::StatusOr<JobPtr> job = Find(request.parent());
  if (!job.ok()) return job.status();
  absl::StatusOr<std::vector<engine::NodeView>> nodes =
      NodesBelow(**job, request, *filter, static_cast<size_t>(*size));
  if (!nodes.ok()) return nodes.status();
  v1::ListNodesResponse response;
  size_t at = PlaceAfter(*nodes, *after);
  for (; at < nodes->size() && response.nodes_size() < *size; ++at) {
    v1::Node node = ToProto((*nodes)[at], (*job)->id());
    if (filter->Fits(node)) *response.add_nodes() = std::move(node);
  }
  if (at < nodes->size()) {
    const std::string place = std::to_string(at) + "/" + (*nodes)[at - 1].path;
    response.set_next_page_token(PageToken(place, asked));
  }
  return response;
}

}  // namespace nursery::rpc
