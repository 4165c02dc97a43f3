// Whether an attempt that ended without success is followed by another, and after how long.
//
// Thread safety: pure functions; the random number comes from the caller.
//
//   RetryDecision decision = DecideRetry(policy, attempt, {.open = true, .remaining = 3s}, random);
//   if (!decision.retry) Fail(node, decision.reason);
#ifndef NURSERY_SERVER_ENGINE_RETRY_H_
#define NURSERY_SERVER_ENGINE_RETRY_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace nursery::engine {

struct RetryPolicy {
  uint32_t max_attempts = 1;
  std::chrono::nanoseconds initial_backoff = std::chrono::seconds(1);
  double multiplier = 2;
  std::chrono::nanoseconds max_backoff = std::chrono::seconds(60);
  double jitter = 0.2;  // the share by which chance makes a backoff shorter or longer, 0 to 1
  uint32_t max_interruptions = 3;
};

enum class AttemptResult : uint8_t {
  kFailed,
  kTimedOut,     // its `attempt_timeout` passed
  kInterrupted,  // lost with the warden or the server: no fault of its own
};

struct EndedAttempt {
  AttemptResult result = AttemptResult::kFailed;
  bool retryable = true;       // kFailed: the policy does not exclude its exit code or status
  uint32_t tries = 1;          // attempts that failed or timed out so far, this one included
  uint32_t interruptions = 0;  // of the node so far; those by a drain are not counted
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
RetryDecision DecideRetry(const RetryPolicy& policy, const EndedAttempt& attempt,
                          const RetryScope& scope, double random);

// The wait after the `tries`-th try (from 1): the initial backoff, multiplied once for each try
// before, at most max_backoff; then shortened or lengthened by chance.
std::chrono::nanoseconds Backoff(const RetryPolicy& policy, uint32_t tries, double random);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_RETRY_H_
