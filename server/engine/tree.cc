#include "server/engine/tree.h"

#include "nursery/core/check.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"
#include "server/engine/text.h"

namespace nursery::engine {

Tree::Tree(std::string id, std::shared_ptr<const spec::Job> job, const Clock& clock,
           std::shared_ptr<EventLog> log, Bells& all, EngineStats& stats)
    : id_(std::move(id)),
      job_(std::move(job)),
      clock_(clock),
      log_(std::move(log)),
      all_(all),
      stats_(stats),
      root_(job_->node(job_->root()), nullptr),
      spent_until_(clock.Now()) {
  MutexLock lock(mutex_);
  unopened_.resize(job_->nodes.size());
  // Children come after their parent.
  for (size_t i = job_->nodes.size(); i-- > 1;) {
    const auto parent = static_cast<size_t>(job_->nodes[i].parent);
    if (job_->nodes[parent].kind == spec::Kind::kGroup) unopened_[parent] += 1 + unopened_[i];
  }
  // Nodes below a map exist once for each item and are counted there.
  std::vector<bool> below_map(job_->nodes.size());
  for (const spec::Node& node : job_->nodes) {
    const auto index = static_cast<size_t>(node.index);
    if (node.parent != spec::kNoNode) {
      const spec::Node& parent = job_->node(node.parent);
      below_map[index] =
          below_map[static_cast<size_t>(node.parent)] || parent.kind == spec::Kind::kMap;
    }
    if (!below_map[index]) ++counts_[static_cast<size_t>(NodeState::kPending)];
  }
}

void Tree::Append(v1::Event event) {
  event.set_seq(++seq_);
  *event.mutable_time() = ToProto(ToWall(clock_, clock_.Now()));
  // The memory store keeps everything; a store that can fail freezes what follows.
  NURSERY_CHECK(log_->Append(event).ok());
}

void Tree::Log(v1::Event event) {
  {
    MutexLock lock(mutex_);
    Append(std::move(event));
  }
  Ring();
}

void Tree::Admit(Time deadline) {
  v1::Event event;
  event.mutable_job_submitted()->set_job("jobs/" + id_);
  event.mutable_job_submitted()->set_durability(v1::DURABILITY_EPHEMERAL);
  if (deadline != kNever) {
    *event.mutable_job_submitted()->mutable_deadline() = ToProto(ToWall(clock_, deadline));
  }
  {
    MutexLock lock(mutex_);
    Append(std::move(event));
    NURSERY_CHECK(Step(root_, EventKind::kStart, {}));
  }
  Ring();
}

void Tree::SetPhase(Node& node, Phase phase) {
  const Time now = clock_.Now();
  // The most advanced phase of any node is the job's.
  for (Phase each : {Phase::kRunning, Phase::kWaiting, Phase::kQueued, Phase::kBackingOff}) {
    if (in_phase_[static_cast<size_t>(each)] == 0) continue;
    spent_[static_cast<size_t>(each)] += now - spent_until_;
    break;
  }
  spent_until_ = now;
  const Activity& before = node.activity();
  if (before.phase == Phase::kWaiting) waited_for_[before.wait_object] += now - before.phase_since;
  if (before.phase == Phase::kIdle && phase == Phase::kIdle) return;
  if (before.phase != Phase::kIdle) --in_phase_[static_cast<size_t>(before.phase)];
  if (phase != Phase::kIdle) ++in_phase_[static_cast<size_t>(phase)];
  Activity& activity = node.MutableActivity();
  activity.phase = phase;
  activity.phase_since = now;
}

void Tree::Enter(Node& node, Phase phase, v1::WaitReason wait, std::string object) {
  MutexLock lock(mutex_);
  if (IsTerminal(node.status.state)) return;  // closed meanwhile: it waits for nothing
  SetPhase(node, phase);
  Activity& activity = node.MutableActivity();
  activity.wait = wait;
  activity.wait_object = std::move(object);
}

bool Tree::Step(Node& node, EventKind event, const Told& told) {
  const NodeState from = node.status.state;
  const Transition step = Next(node.status, event);
  NURSERY_CHECK(step.effect != Effect::kRefused)
      << Name(event) << " for " << node.Path() << ", which is " << Name(from);
  if (step.effect == Effect::kIgnored) return false;
  node.status = step.next;
  if (CauseOf(event) != CauseKind::kNone) {
    node.cause_kind = CauseOf(event);
    node.cause = PLANTED(cause_lost_below) && node.parent != nullptr ? nullptr : told.cause;
  }
  if (!node.in_item) {
    --counts_[static_cast<size_t>(from)];
    ++counts_[static_cast<size_t>(node.status.state)];
  }
  if (IsTerminal(node.status.state)) OnEnded(node);
  return true;
}

void Tree::OnEnded(Node& node) {
  SetPhase(node, Phase::kIdle);
  node.ended_at = clock_.Now();
  stats_.nodes_finished[static_cast<size_t>(node.spec.kind)][static_cast<size_t>(node.status.state)]
      .Add();
  const bool failed =
      node.status.state == NodeState::kFailed || node.status.state == NodeState::kDeadlineExceeded;
  const bool tolerated = node.spec.allow_failure && failed;
  if (tolerated && !node.in_item) ++tolerated_;
  if (node.item >= 0) OnItemEnded(node, tolerated);
  node.EndActivity();
  if (node.parent == nullptr || node.parent->group == nullptr) return;
  GroupState& group = *node.parent->group;
  group.ended.push_back(&node);
  // Full: the runner has not looked since the last ring, and will see this one too.
  group.bell->TrySend(Tick()).IgnoreError();
}

void Tree::OnItemEnded(Node& item, bool tolerated) {
  MapState& map = *item.parent->map;
  const NodeState state = item.status.state;
  ++map.by_state[static_cast<size_t>(state)];
  ++item_counts_[static_cast<size_t>(state)];
  map.tolerated += tolerated ? 1 : 0;
  item_tolerated_ += tolerated ? 1 : 0;
  if (state == NodeState::kSucceeded) {
    map.succeeded.push_back(item.item);
  } else {
    v1::ItemFailure& failure = map.failures.emplace_back();
    failure.set_index(item.item);
    failure.set_state(ToProto(state));
    if (item.cause != nullptr) *failure.mutable_cause() = OwnCause(item);
  }
  if (!map.kept.empty()) KeepItem(item);
  const bool failed = state == NodeState::kFailed || state == NodeState::kDeadlineExceeded;
  if (failed && map.failed.size() < kMaxShownItems) {
    const Duration elapsed = item.started ? item.ended_at - item.started_at : Duration();
    map.failed.push_back({item.Label(), state, item.attempt, elapsed});
  }
  FlushItems(*item.parent, /*all=*/false);
}

void Tree::KeepItem(const Node& item) {
  MapState& map = *item.parent->map;
  KeptItem& kept = map.kept[static_cast<size_t>(item.item)];
  kept.state = item.status.state;
  const std::shared_ptr<const Output>& output = item.activity().output;
  if (output == nullptr || kept.state != NodeState::kSucceeded) return;
  map.kept_bytes += output->total();
  // Over the limit nothing more is kept: whoever reads it is told so.
  if (map.kept_bytes <= kOutputSpool) kept.output = output;
}

bool Tree::Start(Node& node) {
  {
    MutexLock lock(mutex_);
    const bool admitted_root = &node == &root_ && node.status.state == NodeState::kRunning;
    if (PLANTED(start_below_closed) && IsTerminal(node.status.state)) return true;
    if (!admitted_root && node.status.state != NodeState::kPending) return false;
    if (!admitted_root) Step(node, EventKind::kStart, {});
    node.started = true;
    node.started_at = clock_.Now();
    if (node.in_item) return true;
    v1::Event event;
    event.mutable_node_started()->set_path(node.Path());
    Append(std::move(event));
  }
  Ring();
  return true;
}

bool Tree::BindWork(Node& node, std::shared_ptr<const CancelScope> work) {
  MutexLock lock(mutex_);
  if (node.status.outcome != Outcome::kUndecided) return false;
  node.MutableActivity().work = std::move(work);
  return true;
}

void Tree::ReleaseWork(Node& node) {
  MutexLock lock(mutex_);
  if (node.activity().work == nullptr) return;
  node.MutableActivity().work = nullptr;
  if (IsTerminal(node.status.state)) node.EndActivity();
}

void Tree::BindKill(Node& node, std::shared_ptr<const CancelScope> kill) {
  bool killed;
  {
    MutexLock lock(mutex_);
    node.MutableActivity().kill = kill;
    killed = node.teardown == Teardown::kKill;
  }
  if (killed && kill != nullptr) kill->Cancel("killed before it was bound");
}

int Tree::StartAttempt(Node& node) {
  int attempt;
  {
    MutexLock lock(mutex_);
    attempt = ++node.attempt;
    SetPhase(node, Phase::kRunning);
    node.MutableActivity().wait = v1::WAIT_REASON_UNSPECIFIED;
    if (node.in_item) return attempt;
    v1::Event event;
    event.mutable_attempt_started()->set_path(node.Path());
    event.mutable_attempt_started()->set_attempt(attempt);
    Append(std::move(event));
  }
  Ring();
  return attempt;
}

Duration Tree::GraceOf(const Node& node) const {
  MutexLock lock(mutex_);
  const std::shared_ptr<Teardowns>& closing = node.teardowns;
  return closing == nullptr ? node.spec.options->grace
                            : closing->grace.value_or(node.spec.options->grace);
}

void Tree::SetOutput(Node& node, std::shared_ptr<const Output> output,
                     std::shared_ptr<const Output> errors) {
  {
    MutexLock lock(mutex_);
    Activity& activity = node.MutableActivity();
    activity.output = std::move(output);
    activity.errors = std::move(errors);
    activity.output_attempt = node.attempt;
    if (tap_ != nullptr) tap_->OnStarted(node);
  }
  Ring();
}

void Tree::EndAttempt(Node& node, const ActionResult& result, v1::AttemptState state) {
  {
    MutexLock lock(mutex_);
    Activity& activity = node.MutableActivity();
    const Time started = activity.phase_since;
    SetPhase(node, Phase::kIdle);
    activity.cut_short = state == v1::ATTEMPT_STATE_CANCELLED;
    // Whoever decides next may have to name it.
    if (!activity.cut_short) activity.pid = 0;
    activity.output = result.output;
    activity.errors = result.errors;
    activity.output_attempt = node.attempt;
    if (tap_ != nullptr) tap_->OnEnded(node, state);
    activity.last_exit_code = result.exit_code.value_or(-1);
    if (result.escaped.count > 0) escapees_->Add(node.Path(), result.escaped);
    if (node.teardowns != nullptr) {
      node.teardowns->terminated += result.terminated;
      node.teardowns->killed += result.killed;
    }
    if (node.in_item && state == v1::ATTEMPT_STATE_SUCCEEDED) return;
    v1::Event event;
    event.mutable_attempt_ended()->set_path(node.Path());
    v1::Attempt& attempt = *event.mutable_attempt_ended()->mutable_attempt();
    attempt = ToProto(result, node.attempt, state);
    *attempt.mutable_start_time() = ToProto(ToWall(clock_, started));
    *attempt.mutable_end_time() = ToProto(ToWall(clock_, clock_.Now()));
    Append(std::move(event));
  }
  Ring();
}

void Tree::ScheduleRetry(Node& node, bool interrupted, Duration backoff) {
  {
    MutexLock lock(mutex_);
    if (interrupted) ++node.MutableActivity().interruptions;
    if (node.status.outcome != Outcome::kUndecided) return;
    if (!Step(node, interrupted ? EventKind::kInterrupt : EventKind::kRetry, {})) return;
    stats_.retries.Add();
    v1::Event event;
    event.mutable_retry_scheduled()->set_path(node.Path());
    event.mutable_retry_scheduled()->set_attempt(node.attempt + 1);
    *event.mutable_retry_scheduled()->mutable_time() =
        ToProto(ToWall(clock_, Later(clock_.Now(), backoff)));
    Append(std::move(event));
  }
  Ring();
}

void Tree::StartFinally(Node& node) {
  {
    MutexLock lock(mutex_);
    SetPhase(node, Phase::kRunning);
    node.MutableActivity().pid = 0;
    node.MutableActivity().wait = v1::WAIT_REASON_UNSPECIFIED;
    if (node.in_item) return;
    v1::Event event;
    event.mutable_finally_started()->set_path(node.Path());
    Append(std::move(event));
  }
  Ring();
}

void Tree::EndFinally(Node& node, const ActionResult& result, const absl::Status& status,
                      bool killed) {
  {
    MutexLock lock(mutex_);
    SetPhase(node, Phase::kIdle);
    node.MutableActivity().pid = 0;
    if (node.teardowns != nullptr) {
      ++(killed ? node.teardowns->cleanups_skipped : node.teardowns->cleanups_run);
    }
    if (result.escaped.count > 0) escapees_->Add(node.Path(), result.escaped);
    if (node.in_item && status.ok()) return;
    v1::AttemptState state = status.ok() ? v1::ATTEMPT_STATE_SUCCEEDED : v1::ATTEMPT_STATE_FAILED;
    if (killed) state = v1::ATTEMPT_STATE_CANCELLED;
    v1::Event event;
    event.mutable_finally_ended()->set_path(node.Path());
    *event.mutable_finally_ended()->mutable_attempt() = ToProto(result, 1, state);
    Append(std::move(event));
  }
  Ring();
}

void Tree::SkipFinally(Node& node) {
  MutexLock lock(mutex_);
  if (node.teardowns != nullptr) ++node.teardowns->cleanups_skipped;
}

void Tree::Finish(Node& node) {
  std::shared_ptr<const CancelRecord> cancel;
  {
    MutexLock lock(mutex_);
    if (IsTerminal(node.status.state)) return;  // closed before it started
    NURSERY_CHECK(Step(node, EventKind::kGone, {}));
    if (node.map != nullptr) FlushItems(node, /*all=*/true);
    LogEnd(node);
    if (auto known = cancels_.extract(&node)) cancel = std::move(known.mapped());
  }
  Ring();
  if (cancel != nullptr) cancelled_(*cancel);
}

v1::Cause Tree::MakeCause(EventKind event, const Node& node, std::string reason) const {
  v1::Cause cause;
  cause.set_kind(ToProto(CauseOf(event)));
  cause.set_reason(ToUtf8(reason));
  cause.set_origin_path(node.Path());
  *cause.mutable_time() = ToProto(ToWall(clock_, clock_.Now()));
  return cause;
}

}  // namespace nursery::engine
