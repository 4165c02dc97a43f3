#include "nursery/core/channel.h"

#include "nursery/core/status.h"

namespace nursery::internal {

absl::Status NotSentStatus(Passed passed) {
  if (passed == Passed::kRetry) {
    return Error(absl::StatusCode::kResourceExhausted, "the channel is full");
  }
  return Error(absl::StatusCode::kFailedPrecondition,
               "the channel is closed: nobody can receive, or this sender has closed");
}

absl::Status ClosedStatus() {
  return Error(absl::StatusCode::kOutOfRange, "the channel is closed and drained");
}

absl::Status ClosedTwiceStatus() {
  return Error(absl::StatusCode::kFailedPrecondition, "this sender has closed already");
}

absl::Status EmptyStatus() { return Error(absl::StatusCode::kUnavailable, "the channel is empty"); }

void FireNow(Wait& wait, uint32_t index) {
  WakeList none;  // a wait that is still arming is never scheduled
  wait.Fire(index, none);
}

}  // namespace nursery::internal
