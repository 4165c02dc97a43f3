#include "server/rpc/describe_waits.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/convert.h"
#include "server/engine/job.h"
#include "server/engine/text.h"
#include "server/rpc/names.h"

namespace nursery::rpc {
namespace {

constexpr size_t kMaxUnreachable = 100;
constexpr std::string_view kJobPrefix = "job ";

// The task of a job is "job ID", that of a node below it has its path as a name, and those that
// work for it are below that one, under whatever names.
std::string NodeOf(const leak::LiveTask& task, const engine::JobTable& table) {
  std::vector<std::string> names = task.scopes;
  names.push_back(task.name);
  std::shared_ptr<engine::Job> job;
  std::string path;
  for (const std::string& name : names) {
    if (job == nullptr) {
      if (name.starts_with(kJobPrefix)) job = table.Find(name.substr(kJobPrefix.size()));
    } else if (engine::IsAtOrBelow(name, path) && job->ViewOf(name)) {
      path = name;
    }
  }
  return job == nullptr ? "" : NameOfNode(job->id(), path);
}

v1::WaitReason ReasonOf(std::string_view doing) {
  if (doing == Name(WaitReason::kSemaphore)) return v1::WAIT_REASON_SEMAPHORE;
  if (doing == Name(WaitReason::kGroupLimit)) return v1::WAIT_REASON_GROUP_LIMIT;
  if (doing == Name(WaitReason::kGroupJoin)) return v1::WAIT_REASON_CHILDREN;
  return v1::WAIT_REASON_UNSPECIFIED;
}

v1::WaitEdge ToProto(const leak::LiveTask& task, const engine::JobTable& table) {
  v1::WaitEdge edge;
  edge.set_task(static_cast<int64_t>(task.id));
  edge.set_node(NodeOf(task, table));
  edge.mutable_wait()->set_reason(ReasonOf(task.doing));
  edge.mutable_wait()->set_object(task.doing);
  edge.set_name(engine::ToUtf8(task.name));
  edge.set_at(task.at);
  edge.set_spawned_at(task.spawned_at);
  *edge.mutable_age() = engine::ToProto(task.age);
  return edge;
}

}  // namespace

v1::FindWaitCyclesResponse ToProto(const WaitGraph& graph, const engine::JobTable& table) {
  v1::FindWaitCyclesResponse response;
  for (const WaitCycle& cycle : graph.cycles) {
    v1::WaitCycle& next = *response.add_cycles();
    for (const leak::LiveTask& task : cycle) *next.add_edges() = ToProto(task, table);
  }
  response.set_unreachable_count(static_cast<int64_t>(graph.unreachable.size()));
  const size_t shown = std::min(graph.unreachable.size(), kMaxUnreachable);
  for (size_t i = 0; i < shown; ++i) {
    *response.add_unreachable() = ToProto(graph.unreachable[i], table);
  }
  return response;
}

}  // namespace nursery::rpc
