#include "nursery/core/timeout.h"

#include <algorithm>
#include <cmath>

#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery::internal {

absl::Status Validate(const RetryOptions& options) {
  const bool valid = options.max_attempts >= 1 && options.multiplier >= 0 &&
                     options.initial_backoff >= Duration::zero() &&
                     options.max_backoff >= Duration::zero();
  if (valid) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument,
               "a retry has at least 1 attempt, and no negative back-off or multiplier");
}

bool MayRetry(const Context& context, const RetryOptions& options, int attempt,
              absl::Status* status, Duration* backoff) {
  if (status->ok() || context.cancelled()) return false;
  if (options.retryable != nullptr && !options.retryable(*status)) return false;
  const std::string of = std::to_string(attempt) + " of " + std::to_string(options.max_attempts);
  if (attempt >= options.max_attempts + (PLANTED(retry_once_more) ? 1 : 0)) {
    *status = Annotate(*status, "attempt " + of);
    return false;
  }
  const double factor = std::pow(options.multiplier, attempt - 1);
  double wanted = static_cast<double>(options.initial_backoff.count());
  if (wanted > 0) wanted *= factor;  // zero times infinity is no number
  *backoff = wanted < static_cast<double>(options.max_backoff.count())
                 ? Duration(static_cast<int64_t>(wanted))
                 : options.max_backoff;
  if (context.remaining() <= *backoff && !PLANTED(retry_sleeps_past_deadline)) {
    *status = Annotate(*status, "no time left after attempt " + of);
    return false;
  }
  return true;
}

}  // namespace nursery::internal
