#include <algorithm>
#include <optional>

#include "nursery/core/internal/planted.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/finally.h"
#include "server/engine/limits.h"
#include "server/engine/node_scope.h"
#include "server/engine/reason.h"
#include "server/engine/runner.h"
#include "server/spec/scalar.h"

namespace nursery::engine {

namespace {

// "timeout 5s of fetch, set in nightly.yaml:7": the label of a scope's deadline.
std::string DeadlineLabel(Tree& tree, const Node& node, std::string_view what,
                          const spec::TimeLimit& limit) {
  std::string label = std::string(what) + " " + spec::FormatDuration(limit.limit);
  if (&node != &tree.root()) label += " of " + node.Path();
  if (limit.mark.line != 0 && !tree.job().source_file.empty()) {
    label += ", set in " + tree.job().source_file + ":" + std::to_string(limit.mark.line);
  }
  return label;
}

// The earlier of the node's timeout, from now, and its deadline.
std::shared_ptr<const CancelScope> OpenScope(const Context& context, Tree& tree, const Node& node) {
  Time deadline = kNever;
  std::string label;
  if (node.spec.options->timeout.limited() && !PLANTED(node_timeout_ignored)) {
    deadline = Later(context.Now(), node.spec.options->timeout.limit);
    label = DeadlineLabel(tree, node, "timeout", node.spec.options->timeout);
  }
  if (node.spec.options->deadline) {
    const Time own = FromWall(tree.clock(), *node.spec.options->deadline);
    if (own < deadline) {
      deadline = own;
      label = "deadline";
      if (&node != &tree.root()) label += " of " + node.Path();
    }
  }
  return std::make_shared<const CancelScope>(context, deadline, std::move(label));
}

// The weight of one acquire; INVALID_ARGUMENT when its expression gives none that fits.
absl::StatusOr<int64_t> WeightOf(const spec::Acquire& acquire, const spec::Semaphore& semaphore,
                                 const NodeScope& scope) {
  if (!acquire.expression) return acquire.weight;
  absl::StatusOr<spec::Value> value = acquire.expression->Evaluate(scope);
  if (!value.ok()) return value.status();
  absl::StatusOr<int64_t> weight = value->ToInt64();
  if (!weight.ok()) return weight.status();
  if (*weight >= 1 && *weight <= semaphore.size) return *weight;
  return Error(absl::StatusCode::kInvalidArgument,
               "weight " + std::to_string(*weight) + " of semaphore " + semaphore.name +
                   " is not between 1 and its size of " + std::to_string(semaphore.size));
}

// Takes what the node acquires, in rank order. An error that is no cancellation is the node's own.
// `deadline` is the node's; the context's may be that of its queue_timeout.
Async<absl::Status> AcquireAll(Context context, Time deadline, Runtime* run, Node* node,
                               std::vector<Hold>* holds) {
  const NodeScope scope(*run, *node, *holds);
  for (const spec::Acquire& acquire : node->spec.options->acquire) {
    NamedSemaphore& semaphore = *run->semaphores[static_cast<size_t>(acquire.semaphore)];
    absl::StatusOr<int64_t> weight = WeightOf(acquire, semaphore.spec(), scope);
    if (!weight.ok()) co_return weight.status();
    run->tree.Enter(*node, Phase::kWaiting, v1::WAIT_REASON_SEMAPHORE, semaphore.spec().name);
    SemaphoreUser user;
    user.job = run->tree.id();
    user.path = node->Path();
    user.weight = *weight;
    user.deadline = deadline;
    Hold hold(semaphore, std::move(user));
    absl::StatusOr<Permit> permit = co_await semaphore.permits().Acquire(context, *weight);
    if (!permit.ok()) co_return permit.status();
    hold.Take(*std::move(permit));
    holds->push_back(std::move(hold));
  }
  co_return absl::OkStatus();
}

Async<void> RunWork(Context context, Context queue, Runtime* run, Node* node,
                    const std::vector<Hold>* holds, PoolSlot* slot) {
  if (node->spec.kind == spec::Kind::kAction) {
    co_await RunAction(context, queue, run, node, holds, slot);
    co_return;
  }
  if (!run->tree.Start(*node)) co_return;
  run->tree.Enter(*node, Phase::kIdle, v1::WAIT_REASON_CHILDREN);
  if (node->spec.kind == spec::Kind::kGroup) {
    co_await RunGroup(context, run, node);
  } else {
    co_await RunMap(context, run, node);
  }
}

// From eligible to a decided outcome.
Async<void> RunUntilDecided(Context context, Runtime* run, Node* node, std::vector<Hold>* holds,
                            PoolSlot* slot) {
  if (node->spec.options->not_before) {
    run->tree.Enter(*node, Phase::kIdle, v1::WAIT_REASON_NOT_BEFORE);
    const Time start = FromWall(run->tree.clock(), *node->spec.options->not_before);
    // The node's own times count from then on, but it can be cancelled now.
    const auto early = std::make_shared<const CancelScope>(context);
    if (!run->tree.BindWork(*node, early)) co_return;
    const Context waiting = early->context();
    absl::Status slept = co_await SleepUntil(waiting, start);
    if (!slept.ok()) {
      DecideByContext(waiting, *run, *node);
      co_return;
    }
  }
  const std::shared_ptr<const CancelScope> work = OpenScope(context, run->tree, *node);
  if (!run->tree.BindWork(*node, work)) co_return;
  spec::TimeLimit limit;
  limit.limit = node->spec.options->queue_timeout;
  std::optional<const CancelScope> bounded;
  if (limit.limited()) {
    bounded.emplace(work->context(), Later(context.Now(), limit.limit),
                    DeadlineLabel(run->tree, *node, "queue_timeout", limit));
  }
  const Context queue = bounded ? bounded->context() : work->context();
  absl::Status acquired = co_await AcquireAll(queue, work->context().deadline(), run, node, holds);
  if (acquired.ok()) {
    co_await RunWork(work->context(), queue, run, node, holds, slot);
  } else if (queue.cancelled()) {
    DecideByContext(queue, *run, *node);
  } else {
    // It has not started; a node that cannot start fails as one whose only attempt failed.
    if (run->tree.Start(*node)) run->tree.Fail(*node, EventKind::kFail, acquired, 0, "");
  }
}

}  // namespace

Async<void> RunNode(Context context, Runtime* run, Node* node) {
  std::vector<Hold> holds;
  {
    PoolSlot slot;
    co_await RunUntilDecided(context, run, node, &holds, &slot);
    if (PLANTED(permit_released_before_finally)) holds.clear();
    co_await RunFinally(run, node, &holds, slot.held());
  }
  run->tree.ReleaseWork(*node);
  holds.clear();
  run->tree.Finish(*node);
}

Async<void> RefuseNode(Runtime* run, Node* node, absl::Status refused) {
  if (run->tree.Start(*node)) {
    run->tree.Fail(*node, EventKind::kFail, TooManyTasks(refused), 0, "");
  }
  const std::vector<Hold> none;
  co_await RunFinally(run, node, &none, /*has_slot=*/false);
  run->tree.Finish(*node);
}

void DecideByContext(const Context& context, Runtime& run, Node& node) {
  const std::shared_ptr<const Cause> cause = context.cause();
  // The node whose own scope it was; none when it came from outside of the tree.
  Node* origin = nullptr;
  bool decided = false;
  run.tree.Locked([&] {
    decided = node.status.outcome != Outcome::kUndecided;
    for (Node* each = &node; each != nullptr && origin == nullptr; each = each->parent) {
      if (each->activity().work != nullptr && each->activity().work->id() == cause->scope)
        origin = each;
    }
  });
  if (decided) return;
  if (cause->kind != nursery::CauseKind::kDeadline) {
    // The caller went away, or the process goes down.
    v1::Cause lost = run.tree.MakeCause(EventKind::kCancel, run.tree.root(),
                                        std::string(Message(cause->status)));
    lost.set_kind(v1::CAUSE_KIND_CALL_LOST);
    run.tree.Decide(run.tree.root(), EventKind::kCancel, std::move(lost));
    return;
  }
  const absl::Status exceeded =
      Error(absl::StatusCode::kDeadlineExceeded, "deadline exceeded (" + cause->actor + ")");
  // The root is open from its admission on: whatever bound of it passed, it is its own.
  const bool at_root = &node == &run.tree.root();
  if (origin != nullptr) {
    run.tree.Fail(*origin, EventKind::kOwnTimeout, exceeded, origin->attempt, "");
  } else if (cause->scope == &context.node() && !at_root) {
    run.tree.Fail(node, EventKind::kQueueTimeout, exceeded, 0, "");
  } else {
    run.tree.Fail(run.tree.root(), EventKind::kOwnTimeout, exceeded, 0, "");
  }
}

ChildEnd EndOf(const Tree& tree, const Node& node, uint32_t child) {
  return tree.Locked([&] {
    ChildEnd end;
    end.child = child;
    end.outcome = node.status.outcome;
    end.cause = node.cause_kind;
    end.allow_failure = node.spec.allow_failure;
    end.counts_as = node.counts_as;
    end.after_failure = node.after_failure;
    return end;
  });
}

void ApplyDecision(Tree& tree, Node& node, const JoinDecision& decision,
                   const std::shared_ptr<const v1::Cause>& child) {
  if (child == nullptr && decision.event == EventKind::kFail) {
    const std::string what = node.spec.kind == spec::Kind::kMap ? "items" : "children";
    tree.Fail(node, decision.event,
              Error(absl::StatusCode::kFailedPrecondition,
                    "it has no " + what + ", and its join wants one to succeed"),
              0, "");
    return;
  }
  v1::Cause cause = tree.MakeCause(decision.event, node, "");
  if (child != nullptr && decision.event != EventKind::kSucceed) {
    // The group's cause is its child's, with the child as the origin.
    const v1::CauseKind kind = cause.kind();
    cause = *child;
    if (kind != v1::CAUSE_KIND_UNSPECIFIED) cause.set_kind(kind);
  }
  tree.Decide(node, decision.event, std::move(cause));
}

}  // namespace nursery::engine
