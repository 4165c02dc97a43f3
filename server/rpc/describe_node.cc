#include "server/rpc/describe_node.h"

#include <algorithm>
#include <functional>
#include <string_view>

#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/errors.h"
#include "server/rpc/names.h"

namespace nursery::rpc {
namespace {

constexpr int kMaxAttempts = 16;

v1::NodeKind KindOf(std::string_view action) {
  if (action.empty()) return v1::NODE_KIND_UNSPECIFIED;
  if (action == "sleep") return v1::NODE_KIND_SLEEP;
  return action == "call" ? v1::NODE_KIND_CALL : v1::NODE_KIND_EXEC;
}

v1::NodeKind KindOf(const engine::NodeView& view) {
  if (view.kind == spec::Kind::kGroup) return v1::NODE_KIND_GROUP;
  return view.kind == spec::Kind::kMap ? v1::NODE_KIND_MAP : KindOf(view.action);
}

void AddItems(const engine::NodeView& view, v1::Node* node) {
  *node->mutable_counts() = engine::ToProto(view.items_by_state, 0);
  node->set_child_count(view.items);
  node->set_workers(view.workers);
  node->set_item_kind(KindOf(view.action));
  for (const engine::FailedItem& each : view.failed_items) {
    v1::FailedItem& item = *node->add_failed_items();
    item.set_name(each.name);
    item.set_state(engine::ToProto(each.state));
    item.set_attempt_count(each.attempt);
    *item.mutable_elapsed() = engine::ToProto(each.elapsed);
  }
}

void AddAttempts(const engine::Job& job, v1::Node* node) {
  VisitEvents(job, 0, [node](const v1::Event& event) {
    if (event.finally_ended().path() == node->path() && event.has_finally_ended()) {
      *node->mutable_finally_attempt() = event.finally_ended().attempt();
    }
    if (!event.has_attempt_ended() || event.attempt_ended().path() != node->path()) return;
    *node->add_attempts() = event.attempt_ended().attempt();
    auto& attempts = *node->mutable_attempts();
    if (attempts.size() > kMaxAttempts) attempts.DeleteSubrange(0, 1);
  });
}

}  // namespace

v1::Node ToProto(const engine::NodeView& view, const std::string& job) {
  v1::Node node;
  node.set_name(NameOfNode(job, view.path));
  node.set_path(view.path);
  node.set_kind(KindOf(view));
  node.set_state(engine::ToProto(view.state));
  node.set_done(engine::IsTerminal(view.state));
  node.set_outcome(engine::ToProto(view.outcome));
  if (view.cause != engine::CauseKind::kNone) {
    node.mutable_cause()->set_kind(engine::ToProto(view.cause));
    node.mutable_cause()->set_reason(view.reason);
  }
  if (view.wait != v1::WAIT_REASON_UNSPECIFIED) {
    node.mutable_wait()->set_reason(view.wait);
    node.mutable_wait()->set_object(view.wait_object);
  }
  if (view.started != WallTime::min()) *node.mutable_start_time() = engine::ToProto(view.started);
  if (view.ended != WallTime::max()) *node.mutable_end_time() = engine::ToProto(view.ended);
  node.set_attempt_count(view.attempt);
  node.set_max_attempts(view.max_attempts);
  if (view.kind == spec::Kind::kMap) AddItems(view, &node);
  return node;
}

absl::Status NoNode(const engine::Job& job, const std::string& path) {
  return WithReason(
      Error(absl::StatusCode::kNotFound, "job " + job.id() + " has no node '" + path +
                                             "'; its group may not have been opened yet"),
      v1::ERROR_REASON_NODE_NOT_FOUND);
}

absl::StatusOr<v1::Node> DescribeNode(const engine::Job& job, const std::string& path) {
  const std::optional<engine::NodeView> view = job.ViewOf(path);
  if (!view) return NoNode(job, path);
  v1::Node node = ToProto(*view, job.id());
  AddAttempts(job, &node);
  return node;
}

int64_t VisitEvents(const engine::Job& job, int64_t after,
                    const std::function<void(const v1::Event&)>& visit) {
  for (;;) {
    absl::StatusOr<engine::EventBatch> batch = job.Events(after, 1000);
    if (!batch.ok() || batch->events.empty()) return after;
    for (const v1::Event& event : batch->events) {
      after = event.seq();
      visit(event);
    }
  }
}

}  // namespace nursery::rpc
