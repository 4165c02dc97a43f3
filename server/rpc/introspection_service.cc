#include "server/rpc/introspection_service.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "nursery/core/dump.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/describe_node.h"
#include "server/rpc/describe_semaphore.h"
#include "server/rpc/describe_waits.h"
#include "server/rpc/errors.h"
#include "server/rpc/names.h"
#include "server/spec/limits.h"

namespace nursery::rpc {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
// Each is whole in memory until its client has read it; a pager may keep one for long.
constexpr int64_t kDumpsAtOnce = 2;

std::string TextOf(const v1::Node& node, const std::string& name) {
  const std::string state(engine::ShortName(node.state()));
  std::string text = name + " is " + state;
  if (node.has_wait()) {
    constexpr std::string_view kPrefix = "WAIT_REASON_";
    std::string reason = v1::WaitReason_Name(node.wait().reason()).substr(kPrefix.size());
    std::transform(reason.begin(), reason.end(), reason.begin(), [](char c) {
      return c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    });
    text += ": waits for " + reason;
    if (!node.wait().object().empty()) text += " " + node.wait().object();
  } else if (!node.cause().reason().empty()) {
    text += ": " + node.cause().reason();
  }
  return text;
}

// " (0 of 5 free, 2 wanted), held by jobs/01JD.../nodes/load".
std::string HoldersText(const v1::Explanation& explanation) {
  if (explanation.size() == 0) return "";
  std::string text = " (" + std::to_string(explanation.free()) + " of " +
                     std::to_string(explanation.size()) + " free, " +
                     std::to_string(explanation.wanted()) + " wanted)";
  const char* separator = ", held by ";
  for (const v1::PermitHolder& holder : explanation.holders()) {
    text += separator + holder.job() + (holder.path().empty() ? "" : "/nodes/" + holder.path());
    separator = ", ";
  }
  const int64_t more = explanation.holder_count() - explanation.holders_size();
  return more > 0 ? text + " and " + std::to_string(more) + " more" : text;
}

absl::StatusOr<DumpFormat> FormatOf(const v1::DumpTasksRequest& request) {
  if (!request.scope().empty()) return NotInThisVersion("scope");
  switch (request.format()) {
    case v1::DUMP_FORMAT_UNSPECIFIED:
    case v1::DUMP_FORMAT_TEXT:
      return request.aggregate() ? DumpFormat::kAggregate : DumpFormat::kText;
    case v1::DUMP_FORMAT_JSON:
      if (request.aggregate()) return InvalidField("aggregate", "goes with text only");
      return DumpFormat::kJson;
    case v1::DUMP_FORMAT_PPROF:
      return NotInThisVersion("format pprof");
    default:
      return InvalidField("format", "is no format of a dump");
  }
}

}  // namespace

IntrospectionService::IntrospectionService(engine::JobTable& table, ServerFacts facts)
    : table_(table),
      facts_(std::move(facts)),
      start_time_(table.engine().clock().WallNow()),
      dumps_(kDumpsAtOnce) {}

void IntrospectionService::AddTo(Methods& methods) {
  const std::string introspection = "nursery.v1.IntrospectionService";
  const auto add =
      [&]<class Request, class Response>(
          const std::string& service, const char* name, uint8_t scope,
          absl::StatusOr<Response> (IntrospectionService::*handle)(const Request&)) -> Method& {
    return methods.AddUnary<Request, Response>(service, name, scope,
                                               [this, handle](Context, Session*, Request request) {
                                                 return Ready((this->*handle)(request));
                                               });
  };
  add(introspection, "GetServerInfo", kRead, &IntrospectionService::GetServerInfo);
  add(introspection, "GetServerStats", kRead, &IntrospectionService::GetServerStats).is_long = true;
  add(introspection, "ListPools", kRead, &IntrospectionService::ListPools);
  add(introspection, "ListSemaphores", kRead, &IntrospectionService::ListSemaphores).is_long = true;
  add(introspection, "ExplainNode", kRead, &IntrospectionService::ExplainNode).is_long = true;
  add(introspection, "FindWaitCycles", kRead, &IntrospectionService::FindWaitCycles).is_long = true;
  add("nursery.v1.AdminService", "DrainServer", kAdmin, &IntrospectionService::DrainServer);
  const auto dump = [this](Context context, Session* session, v1::DumpTasksRequest request) {
    return DumpTasks(std::move(context), session, &dumps_, std::move(request));
  };
  methods.AddStreaming<v1::DumpTasksRequest>(introspection, "DumpTasks", kRead, dump).is_long =
      true;
}

absl::StatusOr<v1::ServerInfo> IntrospectionService::GetServerInfo(
    const v1::GetServerInfoRequest&) {
  v1::ServerInfo info;
  info.set_version(facts_.version);
  info.set_instance_id(facts_.instance_id);
  for (const char* feature : {"ephemeral", "exec", "call", "map", "group"}) {
    info.add_features(feature);
  }
  for (const std::string& limit : facts_.enforced()) info.add_features("limits." + limit);
  for (const std::string& function : facts_.functions) info.add_functions(function);
  auto& limits = *info.mutable_limits();
  const spec::Limits job = facts_.job_limits();
  limits["nodes_per_job"] = job.nodes_per_job;
  limits["items_per_map"] = job.items_per_map;
  limits["spec_bytes"] = job.spec_bytes;
  const engine::TableLimits table = table_.Limits();
  limits["live_jobs"] = table.live_jobs;
  limits["total_nodes"] = table.nodes;
  limits["admitted_bytes"] = table.bytes;
  limits["ephemeral_jobs"] = table.ended_jobs;
  limits["ephemeral_bytes"] = table.ended_bytes;
  info.set_containment(table_.engine().containment());
  *info.mutable_time() = engine::ToProto(table_.engine().clock().WallNow());
  *info.mutable_start_time() = engine::ToProto(start_time_);
  return info;
}

absl::StatusOr<v1::ServerStats> IntrospectionService::GetServerStats(
    const v1::GetServerStatsRequest&) {
  const engine::TableStats table = table_.Stats();
  v1::ServerStats stats;
  *stats.mutable_jobs() = engine::ToProto(table.finished, 0);
  stats.mutable_jobs()->set_running(table.live);
  std::array<int64_t, 8> nodes{};
  for (const std::shared_ptr<engine::Job>& job : table_.Live()) {
    const std::array<int64_t, 8> counts = job->NodeCounts();
    for (size_t i = 0; i < counts.size(); ++i) nodes[i] += counts[i];
  }
  *stats.mutable_nodes() = engine::ToProto(nodes, 0);
  stats.set_tasks(LiveTasks());
  stats.set_stuck_tasks(StuckTasks());
  stats.set_processes(facts_.processes());
  stats.set_calls(facts_.calls());
  stats.set_watchers(facts_.watchers());
  stats.set_admitted_bytes(table.bytes);
  return stats;
}

absl::StatusOr<v1::ListPoolsResponse> IntrospectionService::ListPools(
    const v1::ListPoolsRequest& request) {
  absl::StatusOr<int> size = PageSize(request.page_size());
  if (!size.ok()) return size.status();
  absl::StatusOr<std::string> after = ParsePageToken(request.page_token(), "");
  if (!after.ok()) return after.status();
  v1::ListPoolsResponse response;
  std::string last;
  for (const auto& [name, stats] : table_.engine().Pools()) {
    if (name <= *after) continue;
    if (response.pools_size() == *size) {
      response.set_next_page_token(PageToken(last, ""));
      break;
    }
    last = name;
    v1::Pool& pool = *response.add_pools();
    pool.set_name("pools/" + name);
    pool.set_slots(static_cast<int32_t>(stats.slots));
    pool.set_slots_in_use(static_cast<int32_t>(stats.in_use));
    pool.set_cleanup_slots(spec::kCleanupSlots);
    pool.set_queue_length(stats.waiting);
  }
  return response;
}

absl::StatusOr<std::shared_ptr<engine::Job>> IntrospectionService::Find(
    const std::string& id) const {
  std::shared_ptr<engine::Job> job = table_.Find(id);
  if (job != nullptr) return job;
  return WithReason(Error(absl::StatusCode::kNotFound, "no job '" + id + "' here"),
                    v1::ERROR_REASON_JOB_NOT_FOUND);
}

absl::StatusOr<v1::ListSemaphoresResponse> IntrospectionService::ListSemaphores(
    const v1::ListSemaphoresRequest& request) {
  absl::StatusOr<int> size = PageSize(request.page_size());
  if (!size.ok()) return size.status();
  absl::StatusOr<std::string> after = ParsePageToken(request.page_token(), request.parent());
  if (!after.ok()) return after.status();
  std::vector<engine::SemaphoreView> views;
  std::string prefix;
  if (request.parent().empty()) {
    views = table_.engine().Semaphores();
  } else {
    absl::StatusOr<std::string> id = ParseJobName(request.parent(), "parent");
    if (!id.ok()) return id.status();
    absl::StatusOr<std::shared_ptr<engine::Job>> job = Find(*id);
    if (!job.ok()) return job.status();
    views = (*job)->Semaphores();
    prefix = request.parent() + "/";
  }
  v1::ListSemaphoresResponse response;
  size_t at = 0;
  std::from_chars(after->data(), after->data() + after->size(), at);
  for (; at < views.size() && response.semaphores_size() < *size; ++at) {
    *response.add_semaphores() = ToProto(views[at], prefix, table_.engine().clock());
  }
  if (at < views.size()) {
    response.set_next_page_token(PageToken(std::to_string(at), request.parent()));
  }
  return response;
}

absl::StatusOr<v1::Explanation> IntrospectionService::ExplainNode(
    const v1::ExplainNodeRequest& request) {
  absl::StatusOr<NodeName> name = ParseNodeName(request.name(), "name");
  if (!name.ok()) return name.status();
  absl::StatusOr<std::shared_ptr<engine::Job>> found = Find(name->job);
  if (!found.ok()) return found.status();
  const std::shared_ptr<engine::Job>& job = *found;
  absl::StatusOr<v1::Node> node = DescribeNode(*job, name->path);
  if (!node.ok()) return node.status();
  v1::Explanation explanation;
  explanation.set_node(node->name());
  explanation.set_state(node->state());
  if (node->has_wait()) *explanation.mutable_wait() = node->wait();
  const v1::Job described = job->Describe();
  if (described.has_deadline()) *explanation.mutable_deadline() = described.deadline();
  explanation.set_deadline_source(described.deadline_source());
  if (node->wait().reason() == v1::WAIT_REASON_SEMAPHORE) {
    const auto semaphore = job->SemaphoreNamed(node->wait().object());
    if (semaphore) {
      ExplainSemaphore(*semaphore, job->id(), name->path, table_.engine().clock(), &explanation);
    }
  }
  explanation.set_text(TextOf(*node, name->path.empty() ? job->display_name() : name->path) +
                       HoldersText(explanation));
  return explanation;
}

absl::StatusOr<v1::FindWaitCyclesResponse> IntrospectionService::FindWaitCycles(
    const v1::FindWaitCyclesRequest&) {
  return ToProto(nursery::FindWaitCycles(), table_);
}

absl::StatusOr<v1::DrainServerResponse> IntrospectionService::DrainServer(
    const v1::DrainServerRequest& request) {
  if (request.wait()) return NotInThisVersion("wait");
  std::optional<Duration> bound;
  if (request.has_timeout()) bound = engine::FromProto(request.timeout());
  if (bound && *bound < Duration::zero()) return InvalidField("timeout", "must not be negative");
  v1::DrainServerResponse response;
  response.set_cancelled_jobs(facts_.drain(bound));
  return response;
}

Async<absl::Status> IntrospectionService::DumpTasks(Context context, Session* session,
                                                    Semaphore* dumps,
                                                    v1::DumpTasksRequest request) {
  const absl::StatusOr<DumpFormat> format = FormatOf(request);
  if (!format.ok()) co_return format.status();
  const absl::StatusOr<Permit> permit = co_await dumps->Acquire(context);
  if (!permit.ok()) co_return permit.status();
  co_await OnWorker();  // a thread of gRPC may have given the permit back
  const std::string text = request.stuck_only() ? DumpStuckTasks(*format) : DumpAllTasks(*format);
  for (size_t at = 0; at < text.size(); at += kChunkBytes) {
    v1::DumpTasksResponse response;
    response.set_chunk(text.substr(at, kChunkBytes));
    const bool sent = co_await session->Write(response);
    if (!sent) break;
  }
  co_return absl::OkStatus();
}

}  // namespace nursery::rpc
