#include "server/engine/retry.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace nursery::engine {
namespace {

using std::chrono::nanoseconds;

std::string AttemptOf(uint32_t number, const RetryPolicy& policy) {
  return absl::StrCat("attempt ", number, " of ", policy.max_attempts);
}

RetryDecision GiveUp(std::string reason) { return {.reason = std::move(reason)}; }

// A lost attempt is repeated at once: it was not the work that failed.
RetryDecision DecideInterrupted(const RetryPolicy& policy, const EndedAttempt& attempt,
                                bool has_time) {
  if (attempt.interruptions > policy.max_interruptions) {
    return GiveUp(absl::StrCat("interruption ", attempt.interruptions, ", at most ",
                               policy.max_interruptions, " allowed"));
  }
  if (!has_time) return GiveUp("no time left to repeat the interrupted attempt");
  return {.retry = true};
}

}  // namespace

RetryDecision DecideRetry(const RetryPolicy& policy, const EndedAttempt& attempt,
                          const RetryScope& scope, double random) {
  if (!scope.open) return {};
  const auto fits = [&](nanoseconds wait) { return !scope.remaining || *scope.remaining > wait; };
  if (attempt.result == AttemptResult::kInterrupted) {
    return DecideInterrupted(policy, attempt, fits(nanoseconds(0)));
  }
  if (policy.max_attempts <= 1) return {};
  if (attempt.tries >= policy.max_attempts) return GiveUp(AttemptOf(attempt.tries, policy));
  if (attempt.result == AttemptResult::kFailed && !attempt.retryable) {
    return GiveUp(absl::StrCat("not retryable, ", AttemptOf(attempt.tries, policy)));
  }
  const nanoseconds backoff = Backoff(policy, attempt.tries, random);
  if (!fits(backoff)) {
    return GiveUp(absl::StrCat("no time left for ", AttemptOf(attempt.tries + 1, policy)));
  }
  return {.retry = true, .backoff = backoff};
}

nanoseconds Backoff(const RetryPolicy& policy, uint32_t tries, double random) {
  // In floating point, where a large power is infinity and not an overflow.
  const double grown = static_cast<double>(policy.initial_backoff.count()) *
                       std::pow(policy.multiplier, static_cast<double>(tries) - 1);
  const double capped = std::min(grown, static_cast<double>(policy.max_backoff.count()));
  const double chosen = capped * (1 + policy.jitter * (2 * random - 1));
  constexpr auto kLongest = static_cast<double>(nanoseconds::max().count());
  return chosen < kLongest ? nanoseconds(std::llround(chosen)) : nanoseconds::max();
}

}  // namespace nursery::engine
