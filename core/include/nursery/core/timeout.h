// WithTimeout and Retry.
//
// WithTimeout gives `function` a context that ends after `timeout`, and returns when `function` has
// returned, never before: the work that was given up has really ended.
//
// Retry calls `function` until it succeeds, `retryable` says no, the attempts are used up, or the
// next back-off would not fit before the context's deadline; then it returns the last error, which
// says so.
//
// Thread safety: called by tasks.
// Suspends: as the function does, and for the back-off. Resumes on: the executor.
// Cancellation: passed on. Retry gives what the attempt has given that it found cancelled, and
// after a back-off that it cut short the cause's status.
//
//   absl::Status fetched = co_await WithTimeout(ctx, std::chrono::seconds(2), "fetch", Fetch, url);
#ifndef NURSERY_CORE_TIMEOUT_H_
#define NURSERY_CORE_TIMEOUT_H_

#include <functional>
#include <utility>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/sleep.h"

namespace nursery {

// `function(context, args...)` gives an Async<T>; so does WithTimeout. `label` names the scope in
// the error.
template <class Function, class... Args>
auto WithTimeout(Context context, Duration timeout, Label label, Function function, Args... args)
    -> std::invoke_result_t<Function, Context, Args...> {
  const Time end = PLANTED(timeout_forgotten) ? kNever : Later(context.Now(), timeout);
  CancelScope scope(context, end, std::move(label));
  co_return co_await std::invoke(std::move(function), scope.context(), std::move(args)...);
}

struct RetryOptions {
  RetryOptions() = default;

  int max_attempts = 3;  // at least 1
  // Of the first back-off; each is `multiplier` times as long as the one before. None is negative.
  Duration initial_backoff = std::chrono::milliseconds(100);
  double multiplier = 2.0;
  Duration max_backoff = std::chrono::seconds(10);
  // Null: everything but a cancellation is worth another attempt.
  bool (*retryable)(const absl::Status& status) = nullptr;
};

namespace internal {

// INVALID_ARGUMENT: a number that makes no sense.
absl::Status Validate(const RetryOptions& options);

// Whether to go on after attempt number `attempt` (from 1) ended with *status: OK, and the back-off
// in *backoff; or not, and why not is added to *status.
bool MayRetry(const Context& context, const RetryOptions& options, int attempt,
              absl::Status* status, Duration* backoff);

}  // namespace internal

// `function(context, args...)` gives an Async<absl::Status> and is called with copies of `args`;
// INVALID_ARGUMENT: it is not, since an option is below its least value.
template <class Function, class... Args>
Async<absl::Status> Retry(Context context, RetryOptions options, Function function, Args... args) {
  absl::Status valid = internal::Validate(options);
  if (!valid.ok()) co_return valid;
  for (int attempt = 1;; ++attempt) {
    absl::Status status = co_await std::invoke(function, context, args...);
    Duration backoff{};
    if (!internal::MayRetry(context, options, attempt, &status, &backoff)) co_return status;
    absl::Status slept = co_await Sleep(context, backoff);
    if (!slept.ok()) co_return slept;
  }
}

}  // namespace nursery

#endif  // NURSERY_CORE_TIMEOUT_H_
