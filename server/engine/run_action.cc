#include <algorithm>
#include <utility>

#include "nursery/core/internal/planted.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/finally.h"
#include "server/engine/limits.h"
#include "server/engine/node_scope.h"
#include "server/engine/retry.h"
#include "server/engine/runner.h"
#include "server/spec/scalar.h"

namespace nursery::engine {
namespace {

// Keeps what the attempt reports while it runs in the node.
class Observer final : public AttemptObserver {
 public:
  // That of a `finally` leaves the node's own output alone.
  Observer(Context context, Tree& tree, Node& node, bool keeps_output)
      : context_(std::move(context)), tree_(tree), node_(node), keeps_output_(keeps_output) {}
  void OnProcess(int64_t pid) override {
    tree_.Locked([&] { node_.MutableActivity().pid = pid; });
  }
  void OnOutput(std::shared_ptr<const Output> output,
                std::shared_ptr<const Output> errors) override {
    if (keeps_output_) tree_.SetOutput(node_, std::move(output), std::move(errors));
  }
  void OnSurvivors(Survivors survivors) override {
    tree_.Locked([&] {
      Count(survivors.count);
      Activity& activity = node_.MutableActivity();
      activity.wait =
          survivors.count == 0 ? v1::WAIT_REASON_KILL_GRACE : v1::WAIT_REASON_UNKILLABLE;
      activity.survivors = std::move(survivors);
    });
  }

 private:
  void Count(int64_t survivors) {
    EngineStats& stats = tree_.stats();
    stats.unkillable.Add(survivors - std::exchange(unkillable_, survivors));
    // Others are what a program left behind that ended by itself.
    const int64_t cancelled = context_.cancelled() ? survivors : 0;
    stats.cancel_survivors.Add(cancelled - std::exchange(cancel_survivors_, cancelled));
  }

  const Context context_;
  Tree& tree_;
  Node& node_;
  const bool keeps_output_;
  // As counted; under the tree's lock.
  int64_t unkillable_ = 0;
  int64_t cancel_survivors_ = 0;
};

bool IsExec(const spec::Action& action) { return std::holds_alternative<spec::Exec>(action); }

AttemptRequest MakeRequest(Runtime& run, const Node& node, const spec::Action& action,
                           const NodeScope& scope, Time deadline) {
  AttemptRequest request(action);
  request.scope = &scope;
  // Of no use to others, and a tenth of what a call costs.
  if (IsExec(action)) request.environment = scope.Environment(deadline);
  request.workdir = run.workdir;
  request.grace = [&run, &node] { return run.tree.GraceOf(node); };
  request.idle_timeout = node.spec.options->idle_timeout;
  request.open_output = [&scope](spec::NodeIndex sibling) { return scope.OpenOutput(sibling); };
  request.keep_whole_output = run.consumed[static_cast<size_t>(node.spec.index)];
  return request;
}

// sleep needs nothing of the machine, and takes no slot.
bool NeedsSlot(const spec::Action& action) { return !std::holds_alternative<spec::Sleep>(action); }

struct Ended {
  Ended() = default;
  ActionResult result;
  AttemptResult how = AttemptResult::kFailed;
};

// What took a running attempt down: who closed its node, else what its context says.
CauseKind TakenDownBy(const Tree& tree, const Node& node, const Cause& cause) {
  const CauseKind closed = tree.Locked([&] { return node.cause_kind; });
  if (closed != CauseKind::kNone) return closed;
  const bool late = cause.kind == nursery::CauseKind::kDeadline;
  return late ? CauseKind::kDeadline : CauseKind::kCancelled;
}

void CountAttempt(const Tree& tree, const Node& node, Duration took, v1::AttemptState state,
                  const Cause* cut_short) {
  EngineStats& stats = tree.stats();
  const size_t action = node.spec.action->index();
  stats.attempts[action][static_cast<size_t>(state)].Add();
  stats.attempt_seconds[action].Observe(took);
  if (cut_short == nullptr) return;
  stats.cancels[static_cast<size_t>(TakenDownBy(tree, node, *cut_short))].Add();
  stats.cancel_seconds.Observe(tree.clock().Now() - cut_short->time);
}

// One attempt under its own timeout, killable through the node's kill scope.
Async<Ended> RunAttempt(Context context, Runtime* run, Node* node, const std::vector<Hold>* holds) {
  run->tree.StartAttempt(*node);
  const Time start = context.Now();
  const spec::TimeLimit& limit = node->spec.options->attempt_timeout;
  const CancelScope timed(
      context, limit.limited() ? Later(start, limit.limit) : kNever,
      limit.limited() ? "attempt_timeout " + spec::FormatDuration(limit.limit) : "");
  // Only what outlives its cancellation for a while can be killed.
  std::shared_ptr<const CancelScope> kill;
  if (IsExec(*node->spec.action)) {
    kill = std::make_shared<const CancelScope>(*run->shield);
    run->tree.BindKill(*node, kill);
  }
  const NodeScope scope(*run, *node, *holds);
  Observer observer(timed.context(), run->tree, *node, /*keeps_output=*/true);
  AttemptRequest request =
      MakeRequest(*run, *node, *node->spec.action, scope, timed.context().deadline());
  if (kill != nullptr) request.kill = kill->context();
  request.observer = &observer;
  Ended ended;
  ended.result = co_await run->actions->Run(timed.context(), request);
  if (kill != nullptr) run->tree.BindKill(*node, nullptr);
  const std::shared_ptr<const Cause> cause = timed.context().cause();
  if (ended.result.interrupted) {
    ended.how = AttemptResult::kInterrupted;
  } else if (cause != nullptr && cause->scope == timed.id()) {
    ended.how = AttemptResult::kTimedOut;
    ended.result.status =
        Error(absl::StatusCode::kDeadlineExceeded, "deadline exceeded (" + cause->actor + ")");
  }
  v1::AttemptState state = v1::ATTEMPT_STATE_FAILED;
  if (ended.how == AttemptResult::kInterrupted) state = v1::ATTEMPT_STATE_INTERRUPTED;
  if (ended.how == AttemptResult::kTimedOut || ended.result.idle)
    state = v1::ATTEMPT_STATE_TIMED_OUT;
  if (context.cancelled()) state = v1::ATTEMPT_STATE_CANCELLED;
  if (ended.result.status.ok() && !context.cancelled()) state = v1::ATTEMPT_STATE_SUCCEEDED;
  CountAttempt(run->tree, *node, context.Now() - start, state, cause.get());
  run->tree.EndAttempt(*node, ended.result, state);
  co_return ended;
}

// Decides the node by its attempt. True: try again after *backoff.
bool DecideByAttempt(const Context& context, Runtime& run, Node& node, const Ended& ended,
                     int* tries, Duration* backoff) {
  if (context.cancelled()) {
    DecideByContext(context, run, node);
    return false;
  }
  const ActionResult& result = ended.result;
  if (result.status.ok()) {
    run.tree.Decide(node, EventKind::kSucceed, v1::Cause());  // success has no cause
    return false;
  }
  const bool interrupted = ended.how == AttemptResult::kInterrupted;
  if (!interrupted) ++*tries;
  EndedAttempt attempt;
  attempt.result = ended.how;
  attempt.exit_code = result.exit_code;
  attempt.tries = *tries;
  attempt.interruptions = node.activity().interruptions + (interrupted ? 1 : 0);
  RetryScope scope;
  scope.open = run.tree.Locked([&] { return node.status.outcome == Outcome::kUndecided; });
  if (context.deadline() != kNever) scope.remaining = context.remaining();
  const RetryDecision decision = DecideRetry(*node.spec.options, attempt, scope, run.random());
  if (decision.retry) {
    run.tree.ScheduleRetry(node, interrupted, decision.backoff);
    *backoff = decision.backoff;
    return true;
  }
  absl::Status status = result.status;
  if (!decision.reason.empty()) {
    status = Error(status.code(), std::string(Message(status)) + " (" + decision.reason + ")");
  }
  const EventKind event =
      ended.how == AttemptResult::kTimedOut ? EventKind::kOwnTimeout : EventKind::kFail;
  run.tree.Fail(node, event, status, node.attempt,
                result.errors == nullptr ? "" : result.errors->LastLines(kErrorLines));
  return false;
}

}  // namespace

Async<void> RunAction(Context context, Context queue, Runtime* run, Node* node,
                      const std::vector<Hold>* holds, PoolSlot* slot) {
  // Who holds permits goes to the front class: permits must not idle behind a long queue.
  const int priority = holds->empty() ? node->spec.priority : kPriorityClasses - 1;
  int tries = 0;
  for (bool first = true;; first = false) {
    const Context waiting = first ? queue : context;
    if (NeedsSlot(*node->spec.action)) {
      Pool& pool = *run->pools[node->spec.pool];
      run->tree.Enter(*node, Phase::kQueued, v1::WAIT_REASON_POOL_SLOT, pool.name());
      absl::StatusOr<PoolSlot> taken =
          co_await pool.Acquire(waiting, PoolRequest(priority, run->fair_key));
      if (!taken.ok()) {
        DecideByContext(waiting, *run, *node);
        co_return;
      }
      *slot = std::move(*taken);
    }
    if (first && !run->tree.Start(*node)) co_return;
    if (PLANTED(slot_released_early)) *slot = PoolSlot();
    Ended ended = co_await RunAttempt(context, run, node, holds);
    Duration backoff{};
    if (!DecideByAttempt(context, *run, *node, ended, &tries, &backoff)) co_return;
    *slot = PoolSlot();
    run->tree.Enter(*node, Phase::kBackingOff, v1::WAIT_REASON_BACKOFF);
    absl::Status slept = co_await Sleep(context, backoff);
    if (!slept.ok()) {
      DecideByContext(context, *run, *node);
      co_return;
    }
  }
}

namespace {

std::vector<std::pair<std::string, std::string>> OutcomeVariables(const Tree& tree,
                                                                  const Node& node, int exit_code) {
  std::vector<std::pair<std::string, std::string>> variables;
  tree.Locked([&] {
    variables.emplace_back("NURSERY_OUTCOME", Name(node.status.outcome));
    if (exit_code >= 0) variables.emplace_back("NURSERY_EXIT_CODE", std::to_string(exit_code));
  });
  return variables;
}

// Runs the clean-up in a scope that only its own bound and KILL end.
Async<absl::Status> CleanUp(Context kill, Runtime* run, Node* node,
                            const std::vector<Hold>* holds) {
  const spec::Finally& finally = *node->spec.finally;
  const CancelScope bounded(kill, Later(kill.Now(), finally.timeout),
                            "timeout " + spec::FormatDuration(finally.timeout));
  const NodeScope scope(*run, *node, *holds);
  Observer observer(bounded.context(), run->tree, *node, /*keeps_output=*/false);
  AttemptRequest request =
      MakeRequest(*run, *node, finally.action, scope, bounded.context().deadline());
  const auto outcome = OutcomeVariables(run->tree, *node, node->activity().last_exit_code);
  request.environment.insert(request.environment.end(), outcome.begin(), outcome.end());
  request.grace = [node] {
    return std::min<Duration>(node->spec.options->grace, spec::kMaxFinallyGrace);
  };
  request.idle_timeout = spec::TimeLimit::kUnlimited;  // the node's; its own bound is enough
  request.kill = kill;
  request.keep_whole_output = false;
  request.observer = &observer;
  run->tree.StartFinally(*node);
  const ActionResult result = co_await run->actions->Run(bounded.context(), request);
  absl::Status status = result.status;
  // Over its bound it has not done its work, whatever its exit code was.
  if (bounded.context().cancelled()) status = bounded.context().status();
  const bool killed = kill.cancelled();
  run->tree.EndFinally(*node, result, status, killed);
  // What KILL left out is no failure of the clean-up.
  co_return killed ? absl::OkStatus() : Annotate(status, "finally");
}

}  // namespace

Async<void> RunFinally(Runtime* run, Node* node, const std::vector<Hold>* holds, bool has_slot) {
  if (node->spec.finally == nullptr) co_return;
  const FinallyStep step = run->tree.Locked([&] {
    return DecideFinally(node->started || PLANTED(finally_without_start), node->teardown);
  });
  if (PLANTED(finally_skipped_on_cancel) && node->status.outcome == Outcome::kCancelled) co_return;
  if (step == FinallyStep::kNotDue) co_return;
  if (step == FinallyStep::kSkipped) {
    run->tree.SkipFinally(*node);
    co_return;
  }
  const auto kill = std::make_shared<const CancelScope>(*run->shield);
  run->tree.BindKill(*node, kill);
  Permit place;
  if (!has_slot) {
    run->tree.Enter(*node, Phase::kIdle, v1::WAIT_REASON_CLEANUP_SLOT);
    // Only KILL ends this wait, and then there is nothing to run.
    absl::StatusOr<Permit> permit =
        co_await run->cleanup_slots[node->spec.pool]->Acquire(kill->context());
    if (!permit.ok()) {
      run->tree.BindKill(*node, nullptr);
      run->tree.SkipFinally(*node);
      co_return;
    }
    place = std::move(*permit);
  }
  absl::Status status = co_await CleanUp(kill->context(), run, node, holds);
  run->tree.BindKill(*node, nullptr);
  if (!status.ok()) run->tree.Fail(*node, EventKind::kFinallyFailed, status, 0, "");
}

}  // namespace nursery::engine
