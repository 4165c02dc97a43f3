#include "server/engine/retry.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "nursery/core/internal/planted.h"

namespace nursery::engine {
namespace {

using std::chrono::nanoseconds;

std::string AttemptOf(int number, const spec::RetryPolicy& policy) {
  return absl::StrCat("attempt ", number, " of ", policy.max_attempts);
}

RetryDecision GiveUp(std::string reason) { return {.reason = std::move(reason)}; }

// A lost attempt is repeated at once: it was not the work that failed.
RetryDecision DecideInterrupted(const spec::NodeOptions& node, const EndedAttempt& attempt,
                                bool has_time) {
  if (attempt.interruptions > node.max_interruptions) {
    return GiveUp(absl::StrCat("interruption ", attempt.interruptions, ", at most ",
                               node.max_interruptions, " allowed"));
  }
  if (!has_time) return GiveUp("no time left to repeat the interrupted attempt");
  return {.retry = true};
}

bool IsRetryable(const spec::RetryPolicy& policy, const EndedAttempt& attempt) {
  if (attempt.result == AttemptResult::kTimedOut || policy.exit_codes.empty()) return true;
  return attempt.exit_code &&
         std::binary_search(policy.exit_codes.begin(), policy.exit_codes.end(), *attempt.exit_code);
}

}  // namespace

RetryDecision DecideRetry(const spec::NodeOptions& node, const EndedAttempt& attempt,
                          const RetryScope& scope, double random) {
  if (!scope.open) return {};
  const auto fits = [&](nanoseconds wait) { return !scope.remaining || *scope.remaining > wait; };
  if (attempt.result == AttemptResult::kInterrupted) {
    return DecideInterrupted(node, attempt, fits(nanoseconds(0)));
  }
  if (!node.retry || node.retry->max_attempts <= 1) return {};
  const spec::RetryPolicy& policy = *node.retry;
  const int allowed = policy.max_attempts + (PLANTED(retried_once_too_often) ? 1 : 0);
  if (attempt.tries >= allowed) return GiveUp(AttemptOf(attempt.tries, policy));
  if (!IsRetryable(policy, attempt)) {
    return GiveUp(absl::StrCat("not retryable, ", AttemptOf(attempt.tries, policy)));
  }
  const nanoseconds backoff = Backoff(policy, attempt.tries, random);
  if (!fits(backoff)) {
    return GiveUp(absl::StrCat("no time left for ", AttemptOf(attempt.tries + 1, policy)));
  }
  return {.retry = true, .backoff = backoff};
}

nanoseconds Backoff(const spec::RetryPolicy& policy, int tries, double random) {
  // In floating point, where a large power is infinity and not an overflow.
  const double grown =
      static_cast<double>(policy.initial.count()) * std::pow(policy.multiplier, tries - 1.0);
  const double capped = std::min(grown, static_cast<double>(policy.max.count()));
  const double chosen = capped * (1 + policy.jitter * (2 * random - 1));
  constexpr auto kLongest = static_cast<double>(nanoseconds::max().count());
  return chosen < kLongest ? nanoseconds(std::llround(chosen)) : nanoseconds::max();
}

}  // namespace nursery::engine
