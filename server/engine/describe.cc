// How a job looks from outside: the resource, and the tree as lines.
#include <algorithm>
#include <tuple>

#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/job.h"
#include "server/engine/limits.h"

namespace nursery::engine {
namespace {

std::string_view ActionName(const spec::Node& node) {
  if (node.action == nullptr) return "";
  static constexpr std::string_view kNames[] = {"exec", "sleep", "call"};
  static_assert(std::variant_size_v<spec::Action> == std::size(kNames));
  return kNames[node.action->index()];
}

int64_t ItemsWith(const MapState& map, std::initializer_list<NodeState> states) {
  int64_t count = 0;
  for (NodeState state : states) count += map.by_state[static_cast<size_t>(state)];
  return count;
}

// What is at work first, then what failed, so that a cut list shows what matters.
int Urgency(const Node& node) {
  switch (node.status.state) {
    case NodeState::kFailed:
    case NodeState::kDeadlineExceeded:
      return 0;
    case NodeState::kRunning:
    case NodeState::kEnding:
      return 1;
    case NodeState::kPending:
      return 2;
    default:
      return 3;
  }
}

void SetCounts(const std::array<int64_t, 8>& counts, int64_t tolerated, v1::StateCounts* message) {
  const auto of = [&](NodeState state) { return counts[static_cast<size_t>(state)]; };
  message->set_pending(of(NodeState::kPending));
  message->set_running(of(NodeState::kRunning));
  message->set_ending(of(NodeState::kEnding));
  message->set_succeeded(of(NodeState::kSucceeded));
  message->set_failed(of(NodeState::kFailed));
  message->set_cancelled(of(NodeState::kCancelled));
  message->set_deadline_exceeded(of(NodeState::kDeadlineExceeded));
  message->set_skipped(of(NodeState::kSkipped));
  message->set_tolerated(tolerated);
}

}  // namespace

NodeView Job::ViewOf(const Node& node, int depth) const {
  NodeView view;
  view.path = node.Path();
  view.name = node.item >= 0 ? view.path.substr(node.parent->Path().size()) : node.spec.name;
  if (depth == 0) view.name = spec().name;
  view.depth = depth;
  view.kind = node.spec.kind;
  view.state = node.status.state;
  view.outcome = node.status.outcome;
  view.action = ActionName(node.spec);
  view.wait = node.wait;
  view.wait_object = node.wait_object;
  const Time until = node.ended_at == Time() ? tree_->clock().Now() : node.ended_at;
  if (node.started_at != Time()) view.elapsed = until - node.started_at;
  view.attempt = node.attempt;
  view.pid = node.pid;
  if (node.cause != nullptr) view.reason = node.cause->reason();
  if (node.map == nullptr) return view;
  const MapState& map = *node.map;
  view.items = map.total;
  view.items_failed =
      ItemsWith(map, {NodeState::kFailed, NodeState::kDeadlineExceeded}) - map.tolerated;
  view.items_ended =
      ItemsWith(map, {NodeState::kSucceeded, NodeState::kFailed, NodeState::kCancelled,
                      NodeState::kDeadlineExceeded, NodeState::kSkipped});
  view.workers = node.spec.map->workers;
  return view;
}

void Job::AddViews(const Node& node, int depth, size_t limit, std::vector<NodeView>* views) const {
  if (views->size() >= limit) return;
  views->push_back(ViewOf(node, depth));
  std::vector<const Node*> below;
  for (const auto& child : node.children) below.push_back(child.get());
  if (node.map != nullptr) {
    for (const Node* item : node.map->live) {
      if (item->spec.kind != spec::Kind::kAction) below.push_back(item);
    }
  }
  if (views->size() + below.size() > limit) {
    std::sort(below.begin(), below.end(), [](const Node* a, const Node* b) {
      return std::tuple(Urgency(*a), a->spec.index, a->item) <
             std::tuple(Urgency(*b), b->spec.index, b->item);
    });
  }
  for (const Node* child : below) AddViews(*child, depth + 1, limit, views);
}

std::vector<NodeView> Job::View(size_t limit) const {
  std::vector<NodeView> views;
  tree_->Locked([&] { AddViews(tree_->root(), 0, limit, &views); });
  return views;
}

v1::Job Job::Describe() const {
  v1::Job job;
  job.set_name("jobs/" + id());
  job.set_id(id());
  job.set_display_name(spec().name);
  const Clock& clock = tree_->clock();
  tree_->Locked([&] {
    const Node& root = tree_->root();
    job.set_state(ToProto(root.status.state));
    job.set_done(IsTerminal(root.status.state));
    job.set_outcome(ToProto(root.status.outcome));
    if (root.cause != nullptr) *job.mutable_cause() = *root.cause;
    if (root.started_at != Time())
      *job.mutable_start_time() = ToProto(ToWall(clock, root.started_at));
    if (root.ended_at != Time()) *job.mutable_end_time() = ToProto(ToWall(clock, root.ended_at));
  });
  int64_t error_count;
  for (v1::NodeError& error : tree_->Errors(&error_count)) *job.add_errors() = std::move(error);
  job.set_error_count(error_count);
  const std::array<int64_t, 8> counts = tree_->Counts();
  SetCounts(counts, tree_->tolerated(), job.mutable_counts());
  int64_t nodes = 0;
  for (int64_t count : counts) nodes += count;
  job.set_node_count(nodes);
  *job.mutable_max_teardown() = ToProto(spec().max_teardown);
  job.set_durability(v1::DURABILITY_EPHEMERAL);
  for (const auto& [name, value] : spec().labels) (*job.mutable_labels())[name] = value;
  const std::array<Duration, kPhases> spent = tree_->Spent();
  v1::TimeSpent& time = *job.mutable_time_spent();
  *time.mutable_queued() = ToProto(spent[static_cast<size_t>(Phase::kQueued)]);
  *time.mutable_waited() = ToProto(spent[static_cast<size_t>(Phase::kWaiting)]);
  *time.mutable_ran() = ToProto(spent[static_cast<size_t>(Phase::kRunning)]);
  *time.mutable_backed_off() = ToProto(spent[static_cast<size_t>(Phase::kBackingOff)]);
  job.set_last_seq(tree_->last_seq());
  if (const v1::CancelReceipt receipt = LastCancel(); !receipt.job().empty()) {
    *job.mutable_last_cancel() = receipt;
  }
  *job.mutable_create_time() = ToProto(ToWall(clock, admitted_));
  MutexLock lock(mutex_);
  const Time deadline = std::min(deadline_, callers_deadline_);
  if (deadline != kNever) *job.mutable_deadline() = ToProto(ToWall(clock, deadline));
  job.set_deadline_source(callers_deadline_ == kNever ? deadline_source_ : "the caller's deadline");
  return job;
}

}  // namespace nursery::engine
