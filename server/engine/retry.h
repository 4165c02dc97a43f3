// Whether an attempt that ended without success is followed by another, and after how long.
//
// Thread safety: pure functions; the random number comes from the caller.
//
//   RetryDecision decision = DecideRetry(node, attempt, {.open = true, .remaining = 3s}, random);
//   if (!decision.retry) Fail(attempt.error, decision.reason);
#ifndef NURSERY_SERVER_ENGINE_RETRY_H_
#define NURSERY_SERVER_ENGINE_RETRY_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "server/spec/job.h"

namespace nursery::engine {

enum class AttemptResult : uint8_t {
  kFailed,
  kTimedOut,     // its `attempt_timeout` passed
  kInterrupted,  // lost with the warden or the server: no fault of its own
};

struct EndedAttempt {
  AttemptResult result = AttemptResult::kFailed;
  std::optional<int> exit_code = {};  // kFailed: of a process that exited by itself
  int tries = 1;                      // attempts that failed or timed out, this one included
  int interruptions = 0;              // of the node so far; those by a drain are not counted
};

// The scope around the attempts: the node itself and everything above it.
struct RetryScope {
  bool open = true;                                        // nothing has decided the node yet
  std::optional<std::chrono::nanoseconds> remaining = {};  // to the nearest deadline
};

struct RetryDecision {
  bool retry = false;
  std::chrono::nanoseconds backoff{0};
  std::string reason =
      {};  // why not, to be put behind the attempt's error; empty if that says it all
};

// `random` is uniform in [0, 1).
RetryDecision DecideRetry(const spec::NodeOptions& node, const EndedAttempt& attempt,
                          const RetryScope& scope, double random);

// The wait after the `tries`-th try (from 1): the initial backoff, multiplied once for each try
// before, at most the maximum; then shortened or lengthened by chance.
std::chrono::nanoseconds Backoff(const spec::RetryPolicy& policy, int tries, double random);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_RETRY_H_
