#include "nursery/core/start.h"

#include "nursery/core/status.h"

namespace nursery::internal {

absl::Status StartedTwiceStatus() {
  return Error(absl::StatusCode::kFailedPrecondition, "the task has said before that it started");
}

absl::Status NobodyWaitsStatus() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "nobody waits any more for the task to start: its group was cancelled");
}

absl::Status EndedBeforeStartStatus(std::string_view task) {
  return Error(absl::StatusCode::kFailedPrecondition,
               "task " + std::string(task) + " ended before it said that it had started");
}

}  // namespace nursery::internal
