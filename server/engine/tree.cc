#include "server/engine/tree.h"

#include <algorithm>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"

namespace nursery::engine {

Tree::Tree(std::string id, std::shared_ptr<const spec::Job> job, const Clock& clock, Store& store)
    : id_(std::move(id)),
      job_(std::move(job)),
      clock_(clock),
      store_(store),
      root_(job_->node(job_->root()), nullptr),
      spent_until_(clock.Now()) {
  MutexLock lock(mutex_);
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
  NURSERY_CHECK(store_.Append(id_, event).ok());
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
  if (node.phase == Phase::kWaiting) waited_for_[node.wait_object] += now - node.phase_since;
  if (node.phase != Phase::kIdle) {
    --in_phase_[static_cast<size_t>(node.phase)];
    node.spent[static_cast<size_t>(node.phase)] += now - node.phase_since;
  }
  if (phase != Phase::kIdle) ++in_phase_[static_cast<size_t>(phase)];
  node.phase = phase;
  node.phase_since = now;
}

void Tree::Enter(Node& node, Phase phase, v1::WaitReason wait, std::string object) {
  MutexLock lock(mutex_);
  SetPhase(node, phase);
  node.wait = wait;
  node.wait_object = std::move(object);
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
    node.cause = told.cause;
    node.teardowns = told.teardowns;
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
  node.wait = v1::WAIT_REASON_UNSPECIFIED;
  node.ended_at = clock_.Now();
  node.pid = 0;
  const bool failed =
      node.status.state == NodeState::kFailed || node.status.state == NodeState::kDeadlineExceeded;
  const bool tolerated = node.spec.allow_failure && failed;
  if (tolerated && !node.in_item) ++tolerated_;
  if (node.parent == nullptr) return;
  if (node.parent->bell != nullptr) {
    node.parent->ended_children.push_back(&node);
    // Full: the runner has not looked since the last ring, and will see this one too.
    node.parent->bell->TrySend(Tick()).IgnoreError();
  }
  if (node.item >= 0) OnItemEnded(node, tolerated);
}

void Tree::OnItemEnded(Node& item, bool tolerated) {
  MapState& map = *item.parent->map;
  const NodeState state = item.status.state;
  ++map.by_state[static_cast<size_t>(state)];
  ++item_counts_[static_cast<size_t>(state)];
  map.tolerated += tolerated ? 1 : 0;
  if (state == NodeState::kSucceeded) {
    map.succeeded.push_back(item.item);
    if (!map.outputs.empty()) map.outputs[static_cast<size_t>(item.item)] = item.output;
  } else {
    v1::ItemFailure& failure = map.failures.emplace_back();
    failure.set_index(item.item);
    failure.set_state(ToProto(state));
    if (item.cause != nullptr) *failure.mutable_cause() = *item.cause;
  }
  const bool failed = state == NodeState::kFailed || state == NodeState::kDeadlineExceeded;
  if (failed && map.failed.size() < kMaxShownItems) {
    const Duration elapsed = item.started ? item.ended_at - item.started_at : Duration();
    map.failed.push_back({item.Label(), state, item.attempt, elapsed});
  }
  FlushItems(*item.parent, /*all=*/false);
}

bool Tree::Start(Node& node) {
  {
    MutexLock lock(mutex_);
    const bool admitted_root = &node == &root_ && node.status.state == NodeState::kRunning;
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
  node.work = std::move(work);
  return true;
}

void Tree::ReleaseWork(Node& node) {
  MutexLock lock(mutex_);
  node.work = nullptr;
}

void Tree::BindKill(Node& node, std::shared_ptr<const CancelScope> kill) {
  MutexLock lock(mutex_);
  node.kill = std::move(kill);
}

int Tree::StartAttempt(Node& node) {
  int attempt;
  {
    MutexLock lock(mutex_);
    attempt = ++node.attempt;
    SetPhase(node, Phase::kRunning);
    node.wait = v1::WAIT_REASON_UNSPECIFIED;
    if (node.in_item) return attempt;
    v1::Event event;
    event.mutable_attempt_started()->set_path(node.Path());
    event.mutable_attempt_started()->set_attempt(attempt);
    Append(std::move(event));
  }
  Ring();
  return attempt;
}

void Tree::EndAttempt(Node& node, const ActionResult& result, v1::AttemptState state) {
  {
    MutexLock lock(mutex_);
    const Time started = node.phase_since;
    SetPhase(node, Phase::kIdle);
    node.cut_short = state == v1::ATTEMPT_STATE_CANCELLED;
    // Whoever decides next may have to name it.
    if (!node.cut_short) node.pid = 0;
    node.output = result.output;
    node.errors = result.errors;
    node.last_exit_code = result.exit_code.value_or(-1);
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
    if (interrupted) ++node.interruptions;
    if (node.status.outcome != Outcome::kUndecided) return;
    if (!Step(node, interrupted ? EventKind::kInterrupt : EventKind::kRetry, {})) return;
    v1::Event event;
    event.mutable_retry_scheduled()->set_path(node.Path());
    event.mutable_retry_scheduled()->set_attempt(node.attempt + 1);
    *event.mutable_retry_scheduled()->mutable_time() =
        ToProto(ToWall(clock_, Later(clock_.Now(), backoff)));
    Append(std::move(event));
  }
  Ring();
}

bool Tree::Decide(Node& node, EventKind event, v1::Cause cause) {
  bool decided;
  {
    MutexLock lock(mutex_);
    const Told told{std::make_shared<const v1::Cause>(std::move(cause)),
                    std::make_shared<Teardowns>()};
    decided = DecideLocked(node, event, told);
  }
  if (decided) Ring();
  return decided;
}

bool Tree::StepAndCount(Node& node, EventKind event, const Told& told) {
  const bool ran = node.phase == Phase::kRunning && node.spec.kind == spec::Kind::kAction;
  if (!Step(node, event, told)) return false;
  if (node.status.state == NodeState::kSkipped) ++told.teardowns->skipped;
  if (ran) ++told.teardowns->interrupted;
  return true;
}

bool Tree::DecideLocked(Node& node, EventKind event, const Told& told) {
  if (!StepAndCount(node, event, told)) return false;
  LogDecision(node, told);
  if (const std::optional<EventKind> below = EventBelow(event)) CloseBelow(node, *below, told);
  return true;
}

void Tree::LogDecision(const Node& node, const Told& told) {
  if (node.in_item) return;
  if (IsTerminal(node.status.state)) return LogEnd(node);
  const bool inner = node.spec.kind != spec::Kind::kAction;
  // What ends at once is told by its end alone.
  const bool by_itself = told.cause->kind() == v1::CAUSE_KIND_UNSPECIFIED ||
                         told.cause->kind() == v1::CAUSE_KIND_ATTEMPT_FAILED;
  if (by_itself && !inner && node.spec.finally == nullptr) return;
  v1::Event event;
  event.mutable_node_ending()->set_path(node.Path());
  event.mutable_node_ending()->set_outcome(ToProto(node.status.outcome));
  *event.mutable_node_ending()->mutable_cause() = *told.cause;
  Append(std::move(event));
  if (!inner) return;
  v1::Event closed;
  closed.mutable_subtree_closed()->set_path(node.Path());
  *closed.mutable_subtree_closed()->mutable_cause() = *told.cause;
  Append(std::move(closed));
}

void Tree::CloseBelow(Node& node, EventKind event, const Told& told) {
  const auto close = [&](Node& child) NURSERY_REQUIRES(mutex_) {
    if (!StepAndCount(child, event, told)) return;
    CloseBelow(child, EventBelow(event).value_or(event), told);
  };
  for (const auto& child : node.children) close(*child);
  if (node.map == nullptr) return;
  for (Node* item : node.map->live) close(*item);
  SkipItems(node, told);
}

void Tree::SkipItems(Node& map, const Told& told) {
  MapState& state = *map.map;
  const int64_t untaken = state.total - state.next;
  state.next = state.total;
  state.by_state[static_cast<size_t>(NodeState::kSkipped)] += untaken;
  item_counts_[static_cast<size_t>(NodeState::kSkipped)] += untaken;
  told.teardowns->skipped += untaken;
}

bool Tree::Fail(Node& node, EventKind event, const absl::Status& status, int attempt,
                std::string stderr_tail) {
  v1::Cause cause = MakeCause(event, node, std::string(Message(status)));
  cause.mutable_status()->set_code(static_cast<int>(status.code()));
  cause.mutable_status()->set_message(std::string(Message(status)));
  v1::NodeError error;
  bool decided;
  {
    MutexLock lock(mutex_);
    if (event == EventKind::kOwnTimeout) CollectRunning(node, &error);
    const Told told{std::make_shared<const v1::Cause>(cause), std::make_shared<Teardowns>()};
    decided = DecideLocked(node, event, told);
    // A failed clean-up of a node that has failed already is a second error.
    const bool counts = decided || event == EventKind::kFinallyFailed;
    if (counts && ++error_count_ <= static_cast<int64_t>(kMaxJobErrors)) {
      error.set_path(node.Path());
      error.set_attempt(attempt);
      error.set_state(ToProto(node.status.outcome));
      *error.mutable_status() = cause.status();
      error.set_stderr_tail(std::move(stderr_tail));
      *error.mutable_time() = cause.time();
      errors_.push_back(std::move(error));
    }
  }
  if (decided) Ring();
  return decided;
}

void Tree::LogEnd(const Node& node) {
  if (node.in_item && node.status.state == NodeState::kSucceeded) return;
  v1::Event event;
  v1::NodeEnded& ended = *event.mutable_node_ended();
  ended.set_path(node.Path());
  ended.set_state(ToProto(node.status.state));
  if (node.cause != nullptr) *ended.mutable_cause() = *node.cause;
  const bool failed =
      node.status.state == NodeState::kFailed || node.status.state == NodeState::kDeadlineExceeded;
  ended.set_tolerated(failed && node.spec.allow_failure);
  if (node.started) *ended.mutable_elapsed() = ToProto(node.ended_at - node.started_at);
  if (node.map != nullptr) {
    *ended.mutable_items() = ToProto(node.map->by_state, node.map->tolerated);
  }
  Append(std::move(event));
}

void Tree::StartFinally(Node& node) {
  {
    MutexLock lock(mutex_);
    SetPhase(node, Phase::kRunning);
    node.pid = 0;
    node.wait = v1::WAIT_REASON_UNSPECIFIED;
    if (node.teardowns != nullptr) ++node.teardowns->cleanups_run;
    if (node.in_item) return;
    v1::Event event;
    event.mutable_finally_started()->set_path(node.Path());
    Append(std::move(event));
  }
  Ring();
}

void Tree::EndFinally(Node& node, const ActionResult& result, const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    SetPhase(node, Phase::kIdle);
    node.pid = 0;
    if (node.in_item && status.ok()) return;
    v1::Event event;
    event.mutable_finally_ended()->set_path(node.Path());
    *event.mutable_finally_ended()->mutable_attempt() =
        ToProto(result, 1, status.ok() ? v1::ATTEMPT_STATE_SUCCEEDED : v1::ATTEMPT_STATE_FAILED);
    Append(std::move(event));
  }
  Ring();
}

void Tree::SkipFinally(Node& node) {
  MutexLock lock(mutex_);
  if (node.teardowns != nullptr) ++node.teardowns->cleanups_skipped;
}

void Tree::Finish(Node& node) {
  {
    MutexLock lock(mutex_);
    if (IsTerminal(node.status.state)) return;  // closed before it started
    NURSERY_CHECK(Step(node, EventKind::kGone, {}));
    if (node.map != nullptr) FlushItems(node, /*all=*/true);
    LogEnd(node);
  }
  Ring();
}

Node* Tree::Find(Node& from, const std::string& path) {
  if (from.Path() == path) return &from;
  const auto leads_there = [&path](const Node& child) {
    const std::string own = child.Path();
    return path.starts_with(own) &&
           (path.size() == own.size() || path[own.size()] == '/' || path[own.size()] == '[');
  };
  for (const auto& child : from.children) {
    if (!leads_there(*child)) continue;
    if (Node* found = Find(*child, path)) return found;
  }
  if (from.map == nullptr) return nullptr;
  for (Node* item : from.map->live) {
    if (!leads_there(*item)) continue;
    if (Node* found = Find(*item, path)) return found;
  }
  return nullptr;
}

void Tree::CollectKill(Node& node, Closing& closing) {
  node.teardown = Teardown::kKill;
  if (node.kill != nullptr) closing.kill.push_back(node.kill);
  for (const auto& child : node.children) CollectKill(*child, closing);
  if (node.map == nullptr) return;
  for (Node* item : node.map->live) CollectKill(*item, closing);
}

absl::StatusOr<Tree::Closing> Tree::Close(const std::string& path, EventKind event, v1::Cause cause,
                                          Teardown teardown, CountsAs counts_as) {
  Closing closing;
  {
    MutexLock lock(mutex_);
    Node* node = Find(root_, path);
    if (node == nullptr) {
      return Error(absl::StatusCode::kNotFound, "job " + id_ + " has no live node '" + path +
                                                    "'; it has not been opened yet, or has ended");
    }
    if (IsTerminal(node->status.state)) {
      return Error(absl::StatusCode::kAlreadyExists,
                   "it has ended: " + std::string(Name(node->status.state)));
    }
    const Told told{std::make_shared<const v1::Cause>(std::move(cause)),
                    std::make_shared<Teardowns>()};
    node->counts_as = counts_as;
    const bool decided = DecideLocked(*node, event, told);
    // Decided before: this caller shares what is under way.
    closing.teardowns = decided || node->teardowns == nullptr ? told.teardowns : node->teardowns;
    closing.work = node->work;
    if (teardown == Teardown::kKill) CollectKill(*node, closing);
  }
  Ring();
  return closing;
}

void Tree::OpenGroup(Node& group, BellSender bell) {
  MutexLock lock(mutex_);
  group.bell = std::make_unique<BellSender>(std::move(bell));
  group.children.reserve(static_cast<size_t>(group.spec.child_count));
  for (spec::NodeIndex child : job_->Children(group.spec.index)) {
    group.children.push_back(std::make_unique<Node>(job_->node(child), &group));
  }
  // Closed between its start and now: the children must not be seen open.
  if (group.status.state != NodeState::kEnding) return;
  if (const Told told{group.cause, group.teardowns}; group.teardowns != nullptr) {
    CloseBelow(group,
               group.status.outcome == Outcome::kDeadlineExceeded ? EventKind::kAncestorDeadline
                                                                  : EventKind::kCancel,
               told);
  }
}

std::vector<Node*> Tree::TakeEnded(Node& group) {
  MutexLock lock(mutex_);
  return std::exchange(group.ended_children, {});
}

void Tree::OpenMap(Node& map, std::shared_ptr<const spec::ItemSet> items, bool keep_outputs) {
  MutexLock lock(mutex_);
  map.map = std::make_unique<MapState>();
  map.map->total = items->size();
  map.map->items = std::move(items);
  map.map->flushed = clock_.Now();
  if (keep_outputs) map.map->outputs.resize(static_cast<size_t>(map.map->total));
  if (map.status.state == NodeState::kEnding && map.teardowns != nullptr) {
    SkipItems(map, Told{map.cause, map.teardowns});
  }
}

int64_t Tree::TakeItem(Node& map) {
  MutexLock lock(mutex_);
  MapState& state = *map.map;
  return state.next < state.total ? state.next++ : -1;
}

void Tree::AddItem(Node& map, Node& item) {
  MutexLock lock(mutex_);
  map.map->live.push_back(&item);
  if (map.status.state != NodeState::kEnding) return;
  // Taken before the map was closed, added after: it starts nothing.
  const Told told{map.cause,
                  map.teardowns == nullptr ? std::make_shared<Teardowns>() : map.teardowns};
  Step(item, EventKind::kGroupDecided, told);
}

void Tree::RemoveItem(Node& map, Node& item) {
  MutexLock lock(mutex_);
  std::erase(map.map->live, &item);
}

void Tree::FlushItems(Node& map, bool all) {
  MapState& state = *map.map;
  const Time now = clock_.Now();
  if (!all && now - state.flushed < kItemsFlush) return;
  state.flushed = now;
  if (state.succeeded.empty() && state.failures.empty()) return;
  v1::Event event;
  v1::ItemsEnded& ended = *event.mutable_items_ended();
  ended.set_path(map.Path());
  std::sort(state.succeeded.begin(), state.succeeded.end());
  v1::ItemRange* range = nullptr;
  for (int64_t index : state.succeeded) {
    if (range == nullptr || range->first() + range->count() != index) {
      range = ended.add_succeeded();
      range->set_first(index);
    }
    range->set_count(range->count() + 1);
  }
  for (v1::ItemFailure& failure : state.failures) *ended.add_failures() = std::move(failure);
  state.succeeded.clear();
  state.failures.clear();
  Append(std::move(event));
}

v1::Cause Tree::MakeCause(EventKind event, const Node& node, std::string reason) const {
  v1::Cause cause;
  cause.set_kind(ToProto(CauseOf(event)));
  cause.set_reason(std::move(reason));
  cause.set_origin_path(node.Path());
  *cause.mutable_time() = ToProto(ToWall(clock_, clock_.Now()));
  return cause;
}

BellReceiver Tree::Watch() {
  auto [sender, receiver] = MakeChannel<Tick>(1);
  MutexLock lock(bells_mutex_);
  bells_.push_back(std::move(sender));
  return receiver;
}

void Tree::Ring() {
  MutexLock lock(bells_mutex_);
  // Full is as good as rung; FAILED_PRECONDITION: the watcher has gone.
  std::erase_if(bells_, [](const BellSender& bell) {
    return absl::IsFailedPrecondition(bell.TrySend(Tick()));
  });
}

}  // namespace nursery::engine
