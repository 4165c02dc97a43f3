// How a decision closes what is below it.
#include "nursery/core/check.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"
#include "server/engine/text.h"
#include "server/engine/tree.h"

namespace nursery::engine {

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
  const NodeState before = node.status.state;
  const bool ran =
      node.activity().phase == Phase::kRunning && node.spec.kind == spec::Kind::kAction;
  if (!Step(node, event, told)) return false;
  node.below = EventBelow(event).value_or(event);
  node.teardowns = told.teardowns;
  if (node.status.state == NodeState::kSkipped) ++told.teardowns->skipped;
  if (ran) {
    ++told.teardowns->interrupted;
    node.MutableActivity().wait = v1::WAIT_REASON_KILL_GRACE;
  }
  // What is below an inner node that never opened has no node of its own to count.
  if (before != NodeState::kPending || !IsTerminal(node.status.state)) return true;
  const int64_t unopened = unopened_[static_cast<size_t>(node.spec.index)];
  told.teardowns->skipped += unopened;
  if (node.in_item) return true;
  counts_[static_cast<size_t>(NodeState::kPending)] -= unopened;
  counts_[static_cast<size_t>(NodeState::kSkipped)] += unopened;
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
    if (PLANTED(closing_stops_at_children)) return;
    CloseBelow(child, child.below, told);
  };
  for (const auto& child : node.children()) close(*child);
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

void Tree::CountDeadline(const Node& node, EventKind event) {
  if (CauseOf(event) != CauseKind::kDeadline) return;
  const DeadlineAt at = node.started ? DeadlineAt::kRun : DeadlineAt::kQueue;
  stats_.deadlines[static_cast<size_t>(at)].Add();
}

bool Tree::Fail(Node& node, EventKind event, const absl::Status& status, int attempt,
                std::string stderr_tail) {
  v1::Cause cause = MakeCause(event, node, std::string(Message(status)));
  *cause.mutable_status() = ToProto(status);
  v1::NodeError error;
  bool decided;
  {
    MutexLock lock(mutex_);
    if (event == EventKind::kOwnTimeout) CollectRunning(node, &error);
    const Told told{std::make_shared<const v1::Cause>(cause), std::make_shared<Teardowns>()};
    decided = DecideLocked(node, event, told);
    if (decided) CountDeadline(node, event);
    // A failed clean-up of a node that has failed already is a second error.
    const bool counts = decided || event == EventKind::kFinallyFailed;
    if (counts && ++error_count_ <= static_cast<int64_t>(kMaxJobErrors)) {
      error.set_path(node.Path());
      error.set_attempt(attempt);
      error.set_state(ToProto(node.status.outcome));
      *error.mutable_status() = cause.status();
      error.set_stderr_tail(ToUtf8(stderr_tail));
      error.set_tolerated(node.spec.allow_failure);
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
  if (node.cause != nullptr) *ended.mutable_cause() = OwnCause(node);
  const bool failed =
      node.status.state == NodeState::kFailed || node.status.state == NodeState::kDeadlineExceeded;
  ended.set_tolerated(failed && node.spec.allow_failure);
  if (node.started) *ended.mutable_elapsed() = ToProto(node.ended_at - node.started_at);
  if (node.map != nullptr) {
    *ended.mutable_items() = ToProto(node.map->by_state, node.map->tolerated);
  }
  Append(std::move(event));
}

// What was being taken down already counts for whoever takes down more, from now on.
void Tree::Adopt(Node& node, const Told& told) {
  if (node.status.state == NodeState::kEnding) node.teardowns = told.teardowns;
  for (const auto& child : node.children()) Adopt(*child, told);
  if (node.map == nullptr) return;
  for (Node* item : node.map->live) Adopt(*item, told);
}

void Tree::CollectKill(Node& node, Closing& closing) {
  node.teardown = Teardown::kKill;
  if (node.activity().kill != nullptr) closing.kill.push_back(node.activity().kill);
  for (const auto& child : node.children()) CollectKill(*child, closing);
  if (node.map == nullptr) return;
  for (Node* item : node.map->live) CollectKill(*item, closing);
}

// Once for the first that closes the node, and once for the first that kills.
void Tree::LogCancel(const Node& node, const CancelRecord& record, Teardown teardown,
                     std::optional<Duration> grace) {
  const bool kills = teardown == Teardown::kKill;
  if (cancels_.contains(&node) && (!kills || node.teardown == Teardown::kKill)) return;
  v1::Event event;
  v1::CancelRequested& requested = *event.mutable_cancel_requested();
  requested.set_path(record.request.path());
  *requested.mutable_cause() = record.request.cause();
  requested.set_kill(kills);
  if (grace) *requested.mutable_grace() = ToProto(*grace);
  Append(std::move(event));
}

absl::StatusOr<Tree::Closing> Tree::Close(const std::shared_ptr<CancelRecord>& record,
                                          EventKind event, Teardown teardown, CountsAs counts_as,
                                          std::optional<Duration> grace) {
  v1::CancelReceipt& request = record->request;
  MutexLock lock(mutex_);
  *request.mutable_admission_close_time() = ToProto(clock_.WallNow());
  Node* node = FindNode(root_, request.path());
  if (node == nullptr) {
    return Error(absl::StatusCode::kNotFound, "job " + id_ + " has no live node '" +
                                                  request.path() +
                                                  "'; it has not been opened yet, or has ended");
  }
  if (IsTerminal(node->status.state)) {
    return Error(absl::StatusCode::kAlreadyExists,
                 "it has ended: " + std::string(Name(node->status.state)));
  }
  LogCancel(*node, *record, teardown, grace);
  const Told told{std::make_shared<const v1::Cause>(request.cause()),
                  std::make_shared<Teardowns>(grace)};
  const bool decided = DecideLocked(*node, event, told);
  if (decided) node->counts_as = counts_as;
  if (decided) Adopt(*node, told);
  // Decided before: this caller shares what is under way.
  record->teardowns = decided || node->teardowns == nullptr ? told.teardowns : node->teardowns;
  Closing closing;
  closing.work = node->activity().work;
  if (teardown == Teardown::kKill) CollectKill(*node, closing);
  if (!IsTerminal(node->status.state)) {
    cancels_.emplace(node, record);
    return closing;
  }
  // Nothing of it had started.
  v1::Event completed;
  v1::CancelReceipt& receipt = *completed.mutable_cancel_completed()->mutable_receipt();
  receipt = request;
  receipt.set_complete(true);
  receipt.set_skipped(record->teardowns->skipped);
  *receipt.mutable_duration() = ToProto(Duration::zero());
  Append(std::move(completed));
  return closing;
}

}  // namespace nursery::engine
