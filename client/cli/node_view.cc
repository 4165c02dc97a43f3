#include "client/cli/node_view.h"

#include <algorithm>
#include <string>

#include "server/engine/convert.h"

namespace nursery::cli {
namespace {

// A state that this version does not know is one of a node that goes on.
engine::NodeState StateOf(v1::NodeState state) {
  for (int at = 0; at <= static_cast<int>(engine::NodeState::kSkipped); ++at) {
    if (engine::ToProto(static_cast<engine::NodeState>(at)) == state) {
      return static_cast<engine::NodeState>(at);
    }
  }
  return engine::NodeState::kRunning;
}

engine::CauseKind CauseOf(v1::CauseKind kind) {
  for (int at = 0; at <= static_cast<int>(engine::CauseKind::kCondition); ++at) {
    if (engine::ToProto(static_cast<engine::CauseKind>(at)) == kind) {
      return static_cast<engine::CauseKind>(at);
    }
  }
  return engine::CauseKind::kNone;
}

std::string ActionOf(v1::NodeKind kind) {
  switch (kind) {
    case v1::NODE_KIND_EXEC:
      return "exec";
    case v1::NODE_KIND_SLEEP:
      return "sleep";
    case v1::NODE_KIND_CALL:
      return "call";
    default:
      return "";
  }
}

void SetPlace(const v1::Node& node, const v1::Job& job, engine::NodeView* view) {
  view->path = node.path();
  view->name = job.display_name();
  if (view->path.empty()) return;
  const auto is_slash = [](char c) { return c == '/' || c == '['; };
  view->depth = 1 + static_cast<int>(std::count_if(view->path.begin(), view->path.end(), is_slash));
  const size_t last = view->path.find_last_of("/[");
  view->name = last == std::string::npos ? view->path : view->path.substr(last);
  if (view->name.starts_with('/')) view->name.erase(0, 1);
}

void SetItems(const v1::Node& node, engine::NodeView* view) {
  view->items = node.child_count();
  const v1::StateCounts& counts = node.counts();
  view->items_by_state = {counts.pending(),           counts.running(), counts.ending(),
                          counts.succeeded(),         counts.failed(),  counts.cancelled(),
                          counts.deadline_exceeded(), counts.skipped()};
  view->workers = node.workers();
  for (const v1::FailedItem& each : node.failed_items()) {
    engine::FailedItem& item = view->failed_items.emplace_back();
    item.name = each.name();
    item.state = StateOf(each.state());
    item.attempt = each.attempt_count();
    item.elapsed = engine::FromProto(each.elapsed());
  }
}

}  // namespace

engine::NodeView ViewOf(const v1::Node& node, const v1::Job& job) {
  engine::NodeView view;
  SetPlace(node, job, &view);
  view.state = StateOf(node.state());
  if (node.kind() == v1::NODE_KIND_GROUP) view.kind = spec::Kind::kGroup;
  if (node.kind() == v1::NODE_KIND_MAP) view.kind = spec::Kind::kMap;
  view.action = ActionOf(node.kind() == v1::NODE_KIND_MAP ? node.item_kind() : node.kind());
  view.wait = node.wait().reason();
  view.wait_object = node.wait().object();
  view.attempt = node.attempt_count();
  view.max_attempts = node.max_attempts();
  view.cause = CauseOf(node.cause().kind());
  view.reason = node.cause().reason();
  if (node.has_start_time()) {
    const WallTime end =
        engine::FromProto(node.has_end_time() ? node.end_time() : job.update_time());
    view.elapsed = std::max(Duration(end - engine::FromProto(node.start_time())), Duration::zero());
  }
  if (view.kind == spec::Kind::kMap) SetItems(node, &view);
  return view;
}

}  // namespace nursery::cli
