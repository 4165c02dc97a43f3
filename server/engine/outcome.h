// The words every part of the engine shares: where a node stands, how it ended and why.
//
// ARCHITECTURE.md ("Semantics") says what they mean; its tables are the tests of this directory.
//
// Thread safety: values and pure functions.
#ifndef NURSERY_SERVER_ENGINE_OUTCOME_H_
#define NURSERY_SERVER_ENGINE_OUTCOME_H_

#include <cstdint>
#include <string_view>

namespace nursery::engine {

enum class NodeState : uint8_t {
  kPending,
  kRunning,
  kEnding,  // the outcome is decided; killing, draining and `finally` are under way
  kSucceeded,
  kFailed,
  kCancelled,
  kDeadlineExceeded,
  kSkipped,
};

enum class Outcome : uint8_t {
  kUndecided,
  kSucceeded,
  kFailed,
  kCancelled,
  kDeadlineExceeded,
  kSkipped,
};

// What decided an outcome.
enum class CauseKind : uint8_t {
  kNone,           // nothing closed it: it succeeded, or is undecided
  kFailed,         // its own work, or too many of its children, failed
  kFinally,        // its work succeeded and its `finally` did not
  kCancelled,      // someone asked for it
  kDeadline,       // its own or an inherited one
  kDrain,          // the server is stopping
  kSiblingFailed,  // a sibling's failure decided the group
  kGroupDecided,   // the group needed it no more
  kDependency,     // a node it needs did not succeed
  kCondition,      // its `when` did not hold
};

constexpr bool IsTerminal(NodeState state) { return state > NodeState::kEnding; }

// The names of the job file, the proto and the documents: "DEADLINE_EXCEEDED", "sibling_failed".
std::string_view Name(NodeState state);
std::string_view Name(Outcome outcome);
std::string_view Name(CauseKind cause);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_OUTCOME_H_
