#include "server/engine/outcome.h"

#include "nursery/core/check.h"

namespace nursery::engine {

std::string_view Name(NodeState state) {
  switch (state) {
    case NodeState::kPending:
      return "PENDING";
    case NodeState::kRunning:
      return "RUNNING";
    case NodeState::kEnding:
      return "ENDING";
    case NodeState::kSucceeded:
      return "SUCCEEDED";
    case NodeState::kFailed:
      return "FAILED";
    case NodeState::kCancelled:
      return "CANCELLED";
    case NodeState::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case NodeState::kSkipped:
      return "SKIPPED";
  }
  NURSERY_CHECK(false) << "no such NodeState: " << static_cast<int>(state);
}

std::string_view Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kUndecided:
      return "UNDECIDED";
    case Outcome::kSucceeded:
      return Name(NodeState::kSucceeded);
    case Outcome::kFailed:
      return Name(NodeState::kFailed);
    case Outcome::kCancelled:
      return Name(NodeState::kCancelled);
    case Outcome::kDeadlineExceeded:
      return Name(NodeState::kDeadlineExceeded);
    case Outcome::kSkipped:
      return Name(NodeState::kSkipped);
  }
  NURSERY_CHECK(false) << "no such Outcome: " << static_cast<int>(outcome);
}

std::string_view Name(CauseKind cause) {
  switch (cause) {
    case CauseKind::kNone:
      return "none";
    case CauseKind::kFailed:
      return "failed";
    case CauseKind::kFinally:
      return "finally";
    case CauseKind::kCancelled:
      return "cancelled";
    case CauseKind::kDeadline:
      return "deadline";
    case CauseKind::kDrain:
      return "drain";
    case CauseKind::kSiblingFailed:
      return "sibling_failed";
    case CauseKind::kGroupDecided:
      return "group_decided";
    case CauseKind::kDependency:
      return "dependency";
    case CauseKind::kCondition:
      return "condition";
  }
  NURSERY_CHECK(false) << "no such CauseKind: " << static_cast<int>(cause);
}

}  // namespace nursery::engine
