#include <deque>

#include "nursery/core/group.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"
#include "server/engine/needs.h"
#include "server/engine/runner.h"

namespace nursery::engine {
namespace {

// The open group: which children have ended, may start, or wait for siblings.
class GroupRun {
 public:
  GroupRun(Runtime& run, Node& node)
      : run_(run),
        node_(node),
        join_(node.spec.group->join, static_cast<uint32_t>(node.spec.child_count)),
        ends_(static_cast<size_t>(node.spec.child_count)) {}

  void Open() {
    if (auto decision = join_.OnOpened()) Apply(*decision);
    for (const auto& child : node_.children()) {
      if (child->spec.needs().empty() || PLANTED(needs_ignored)) AddReady(*child);
    }
  }

  // Accounts for the children that have ended since the last call.
  void Absorb() {
    for (Node* child : run_.tree.TakeEnded(node_)) {
      const uint32_t index = IndexOf(child->spec.index);
      const ChildEnd end = EndOf(run_.tree, *child, index);
      ends_[index] = Classify(end);
      ++ended_;
      if (auto decision = join_.OnChildEnded(end)) Apply(*decision);
      for (spec::NodeIndex dependent : child->spec.dependents()) Reconsider(dependent, *child);
    }
  }

  // The next child to start; null: none may.
  Node* TakeReady() {
    const int64_t limit = node_.spec.group->limit;
    while (!ready_.empty() && (limit == 0 || running_ < limit || PLANTED(group_limit_ignored))) {
      Node* child = ready_.front();
      ready_.pop_front();
      const bool open =
          run_.tree.Locked([&] { return child->status.state == NodeState::kPending; });
      if (!open) continue;
      ++running_;
      return child;
    }
    return nullptr;
  }

  void OnTaskEnded() { --running_; }
  bool all_ended() const { return ended_ == node_.spec.child_count; }
  // Closed from outside, or by the join.
  bool decided() const {
    return run_.tree.Locked([&] { return node_.status.outcome != Outcome::kUndecided; });
  }

 private:
  uint32_t IndexOf(spec::NodeIndex child) const {
    return static_cast<uint32_t>(child - node_.spec.first_child);
  }

  void AddReady(Node& child) { ready_.push_back(&child); }

  void Apply(const JoinDecision& decision) {
    std::shared_ptr<const v1::Cause> cause;
    if (decision.child) {
      const Node& child = *node_.children()[*decision.child];
      cause = run_.tree.Locked([&] { return child.cause; });
    }
    ApplyDecision(run_.tree, node_, decision, cause);
  }

  void Reconsider(spec::NodeIndex dependent, const Node& need) {
    Node& child = *node_.children()[IndexOf(dependent)];
    std::vector<NeedEnd> needs;
    for (spec::NodeIndex each : child.spec.needs()) needs.push_back(ends_[IndexOf(each)]);
    const NeedsDecision decision = DecideNeeds(child.spec.when, needs);
    if (decision.readiness == Readiness::kReady) AddReady(child);
    if (decision.readiness != Readiness::kSkipped) return;
    run_.tree.Locked([&] { child.after_failure = decision.after_failure; });
    run_.tree.Decide(child, decision.event,
                     run_.tree.MakeCause(decision.event, need, "needs " + need.spec.name));
  }

  Runtime& run_;
  Node& node_;
  JoinAccounting join_;
  std::vector<NeedEnd> ends_;
  std::deque<Node*> ready_;
  int64_t running_ = 0;
  int64_t ended_ = 0;
};

Async<void> RunChild(Context context, Runtime* run, Node* node, BellSender bell,
                     std::atomic<int64_t>* left) {
  co_await RunNode(context, run, node);
  // The group's place is free only now, when the task has nothing left to do.
  ++*left;
  bell.TrySend(Tick()).IgnoreError();
}

// Spawns what may start and waits for ends until every child has ended. After the decision the
// children are cancelled through `children`, and only their ends are waited for.
Async<absl::Status> DriveGroup(Group& group, Runtime* run, Node* node, const CancelScope* children,
                               std::atomic<int64_t>* left) {
  auto [bell, ringing] = MakeChannel<Tick>(1);
  run->tree.OpenGroup(*node, bell);
  GroupRun state(*run, *node);
  state.Open();
  CancelScope patience = CancelScope::Shielded(group.context(), Duration::max(), "");
  while (true) {
    for (int64_t gone = left->exchange(0); gone > 0; --gone) state.OnTaskEnded();
    state.Absorb();
    if (state.all_ended()) break;
    const bool decided = state.decided();
    if (decided && !PLANTED(decided_group_runs_on)) {
      children->Cancel(Cause(nursery::CauseKind::kGroupDecided,
                             Error(absl::StatusCode::kCancelled, "the group is decided")));
    }
    while (Node* child = decided ? nullptr : state.TakeReady()) {
      absl::Status spawned = group.TrySpawn(child->Path(), RunChild, run, child, bell, left);
      if (spawned.ok()) continue;
      // Where the context is cancelled the child ends with the group.
      if (group.context().cancelled() || PLANTED(refused_child_forgotten)) break;
      state.OnTaskEnded();
      co_await RefuseNode(run, child, std::move(spawned));
      break;  // its end may decide the group
    }
    const Context waiting = decided ? patience.context() : group.context();
    absl::StatusOr<Tick> rung = co_await ringing.Receive(waiting);
    if (!rung.ok() && !decided) DecideByContext(group.context(), *run, *node);
  }
  co_return absl::OkStatus();
}

}  // namespace

Async<void> RunGroup(Context context, Runtime* run, Node* node) {
  const CancelScope children(context);
  GroupOptions options;
  options.join = nursery::Join::Collect();
  // Outlives the body: a child's node ends before its task does.
  std::atomic<int64_t> left = 0;
  GroupResult result =
      co_await WithGroup(children.context(), options, DriveGroup, run, node, &children, &left);
  NURSERY_CHECK(result.status.ok()) << node->Path() << ": " << result.status;
}

}  // namespace nursery::engine
