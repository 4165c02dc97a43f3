#include "server/rpc/introspection_service.h"

#include <algorithm>

#include "nursery/core/dump.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/describe_node.h"
#include "server/rpc/errors.h"
#include "server/rpc/names.h"
#include "server/spec/limits.h"

namespace nursery::rpc {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
constexpr std::chrono::seconds kDefaultDrain{30};

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

}  // namespace

IntrospectionService::IntrospectionService(engine::JobTable& table, ServerFacts facts)
    : table_(table), facts_(std::move(facts)), start_time_(table.engine().clock().WallNow()) {}

void IntrospectionService::AddTo(Methods& methods) {
  const std::string introspection = "nursery.v1.IntrospectionService";
  const auto add = [&]<class Request, class Response>(
                       const std::string& service, const char* name, uint8_t scope,
                       absl::StatusOr<Response> (IntrospectionService::*handle)(const Request&)) {
    methods.AddUnary<Request, Response>(service, name, scope,
                                        [this, handle](Context, Session*, Request request) {
                                          return Ready((this->*handle)(request));
                                        });
  };
  add(introspection, "GetServerInfo", kRead, &IntrospectionService::GetServerInfo);
  add(introspection, "GetServerStats", kRead, &IntrospectionService::GetServerStats);
  add(introspection, "ListPools", kRead, &IntrospectionService::ListPools);
  add(introspection, "ExplainNode", kRead, &IntrospectionService::ExplainNode);
  add("nursery.v1.AdminService", "DrainServer", kAdmin, &IntrospectionService::DrainServer);
  methods.AddStreaming<v1::DumpTasksRequest>(introspection, "DumpTasks", kRead, DumpTasks).is_long =
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
  for (const std::string& function : facts_.functions) info.add_functions(function);
  auto& limits = *info.mutable_limits();
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
  stats.set_tasks(LiveTasks());
  stats.set_processes(facts_.processes());
  stats.set_calls(facts_.calls());
  stats.set_admitted_bytes(table.bytes);
  return stats;
}

absl::StatusOr<v1::ListPoolsResponse> IntrospectionService::ListPools(
    const v1::ListPoolsRequest& request) {
  absl::StatusOr<int> size = PageSize(request.page_size());
  if (!size.ok()) return size.status();
  v1::ListPoolsResponse response;
  for (const auto& [name, stats] : table_.engine().Pools()) {
    if (name <= request.page_token()) continue;
    if (response.pools_size() == *size) {
      response.set_next_page_token(response.pools(*size - 1).name().substr(6));
      break;
    }
    v1::Pool& pool = *response.add_pools();
    pool.set_name("pools/" + name);
    pool.set_slots(static_cast<int32_t>(stats.slots));
    pool.set_slots_in_use(static_cast<int32_t>(stats.in_use));
    pool.set_cleanup_slots(spec::kCleanupSlots);
    pool.set_queue_length(stats.waiting);
  }
  return response;
}

absl::StatusOr<v1::Explanation> IntrospectionService::ExplainNode(
    const v1::ExplainNodeRequest& request) {
  absl::StatusOr<NodeName> name = ParseNodeName(request.name(), "name");
  if (!name.ok()) return name.status();
  const std::shared_ptr<engine::Job> job = table_.Find(name->job);
  if (job == nullptr) {
    return WithReason(Error(absl::StatusCode::kNotFound, "no job '" + name->job + "' here"),
                      v1::ERROR_REASON_JOB_NOT_FOUND);
  }
  absl::StatusOr<v1::Node> node = DescribeNode(*job, name->path);
  if (!node.ok()) return node.status();
  v1::Explanation explanation;
  explanation.set_node(node->name());
  explanation.set_state(node->state());
  if (node->has_wait()) *explanation.mutable_wait() = node->wait();
  const v1::Job described = job->Describe();
  if (described.has_deadline()) *explanation.mutable_deadline() = described.deadline();
  explanation.set_deadline_source(described.deadline_source());
  explanation.set_text(TextOf(*node, name->path.empty() ? job->spec().name : name->path));
  return explanation;
}

absl::StatusOr<v1::DrainServerResponse> IntrospectionService::DrainServer(
    const v1::DrainServerRequest& request) {
  if (request.wait()) return NotInThisVersion("wait");
  const Duration bound =
      request.has_timeout() ? engine::FromProto(request.timeout()) : Duration(kDefaultDrain);
  if (bound < Duration::zero()) return InvalidField("timeout", "must not be negative");
  v1::DrainServerResponse response;
  response.set_cancelled_jobs(facts_.drain(bound));
  return response;
}

Async<absl::Status> IntrospectionService::DumpTasks(Context, Session* session,
                                                    v1::DumpTasksRequest request) {
  if (!request.scope().empty()) co_return NotInThisVersion("scope");
  if (request.stuck_only()) co_return NotInThisVersion("stuck_only");
  if (request.aggregate()) co_return NotInThisVersion("aggregate");
  const bool is_text =
      request.format() == v1::DUMP_FORMAT_UNSPECIFIED || request.format() == v1::DUMP_FORMAT_TEXT;
  if (!is_text) co_return NotInThisVersion("format");
  const std::string text = DumpAllTasks();
  for (size_t at = 0; at < text.size(); at += kChunkBytes) {
    v1::DumpTasksResponse response;
    response.set_chunk(text.substr(at, kChunkBytes));
    const bool sent = co_await session->Write(response);
    if (!sent) break;
  }
  co_return absl::OkStatus();
}

}  // namespace nursery::rpc
