// The one table of a node's life: which event moves it from where to where.
//
// Every change of a node's state goes through Next; the table stands in ARCHITECTURE.md too, and a
// test holds the two equal over all pairs. A root is started when its job is admitted, so a job
// never ends SKIPPED.
//
// Thread safety: values and pure functions.
//
//   const Transition step = Next(node.status, EventKind::kCancel);
//   NURSERY_CHECK(step.effect != Effect::kRefused) << "the engine decided an impossible event";
//   node.status = step.next;
#ifndef NURSERY_SERVER_ENGINE_STATE_TABLE_H_
#define NURSERY_SERVER_ENGINE_STATE_TABLE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "server/engine/outcome.h"

namespace nursery::engine {

struct NodeStatus {
  NodeState state = NodeState::kPending;
  Outcome outcome = Outcome::kUndecided;  // decided from ENDING on

  friend bool operator==(const NodeStatus&, const NodeStatus&) = default;
};

enum class EventKind : uint8_t {
  kStart,             // its first attempt starts, or the inner node opens
  kRetry,             // an attempt ended without success and another follows
  kInterrupt,         // an attempt was lost with the warden or the server and is repeated
  kSucceed,           // its attempt succeeded, or its join policy is met
  kFail,              // its last attempt failed, or its join policy cannot be met
  kCancel,            // someone cancelled it or a scope around it
  kSiblingFailed,     // a sibling's failure decided the group around it
  kGroupDecided,      // the group around it needs it no more
  kDrain,             // the server is stopping and does not keep the job
  kOwnTimeout,        // its `timeout` passed, or the `attempt_timeout` of its last attempt
  kQueueTimeout,      // its `queue_timeout` passed
  kAncestorDeadline,  // a deadline set further up passed
  kNeedsUnmet,        // a node it needs ended and does not satisfy it
  kConditionUnmet,    // its needs ended and its `when` does not hold
  kFinallyFailed,     // its `finally` ended without success
  kGone,              // all it started is verified gone and its `finally` has ended
};
inline constexpr int kEventKinds = 16;

// Every status a node can have, PENDING first.
inline constexpr std::array kNodeStatuses = {
    NodeStatus{NodeState::kPending, Outcome::kUndecided},
    NodeStatus{NodeState::kRunning, Outcome::kUndecided},
    NodeStatus{NodeState::kEnding, Outcome::kSucceeded},
    NodeStatus{NodeState::kEnding, Outcome::kFailed},
    NodeStatus{NodeState::kEnding, Outcome::kCancelled},
    NodeStatus{NodeState::kEnding, Outcome::kDeadlineExceeded},
    NodeStatus{NodeState::kSucceeded, Outcome::kSucceeded},
    NodeStatus{NodeState::kFailed, Outcome::kFailed},
    NodeStatus{NodeState::kCancelled, Outcome::kCancelled},
    NodeStatus{NodeState::kDeadlineExceeded, Outcome::kDeadlineExceeded},
    NodeStatus{NodeState::kSkipped, Outcome::kSkipped},
};

enum class Effect : uint8_t {
  kMoves,    // `next` is the new status (RUNNING again after a retry)
  kIgnored,  // came too late, which is no error: an earlier event decided
  kRefused,  // cannot happen: whoever decided this event has a bug
};

struct Transition {
  Effect effect;
  NodeStatus next;  // the old status unless the effect is kMoves
};

// What `event` does to a node of status `from`, which must be one of kNodeStatuses.
Transition Next(NodeStatus from, EventKind event);

// The cause that `event` gives to the outcome it decides; kNone if it decides none by itself.
CauseKind CauseOf(EventKind event);

// What the nodes below an inner node get when `event` has decided its outcome; nothing for events
// that decide none.
std::optional<EventKind> EventBelow(EventKind event);

// The name in the documents, as in "AncestorDeadline".
std::string_view Name(EventKind event);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_STATE_TABLE_H_
