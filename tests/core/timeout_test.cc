#include "nursery/core/timeout.h"

#include <gtest/gtest.h>

#include <chrono>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Takes `cleanup` to end after it was cancelled.
Async<absl::Status> Slow(Context ctx, Duration work, Duration cleanup, bool* ended) {
  absl::Status slept = co_await Sleep(ctx, work);
  if (!slept.ok()) {
    CancelScope shield = CancelScope::Shielded(ctx, seconds(60), "cleanup");
    absl::Status cleaned = co_await Sleep(shield.context(), cleanup);
    EXPECT_TRUE(cleaned.ok());
  }
  *ended = true;
  co_return slept;
}

SEEDED_TEST(WithTimeoutTest, ReturnsOnlyWhenTheWorkHasEnded) {
  bool ended = false;
  const Time start = ctx.Now();
  absl::Status status =
      co_await WithTimeout(ctx, seconds(1), "work", Slow, seconds(60), seconds(2), &ended);
  EXPECT_EQ(status, Error(absl::StatusCode::kDeadlineExceeded, "deadline of work exceeded"));
  EXPECT_TRUE(ended);
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(WithTimeoutTest, LeavesWorkThatIsInTimeAlone) {
  bool ended = false;
  absl::Status status =
      co_await WithTimeout(ctx, seconds(10), "work", Slow, seconds(1), seconds(0), &ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(executor.timers().size(), 0u);
  co_return status;
}

Async<absl::Status> FailTimes(Context, int* calls, int failures) {
  ++*calls;
  if (*calls > failures) co_return absl::OkStatus();
  co_return Error(absl::StatusCode::kUnavailable, "not yet");
}

SEEDED_TEST(RetryTest, NoBackoffStaysNoneHoweverManyAttempts) {
  RetryOptions options;
  options.max_attempts = 1'100;  // 2 to that power is no double any more
  options.initial_backoff = Duration::zero();
  int calls = 0;
  const Time start = ctx.Now();
  absl::Status status = co_await Retry(ctx, options, FailTimes, &calls, options.max_attempts - 1);
  EXPECT_EQ(calls, options.max_attempts);
  EXPECT_EQ(ctx.Now(), start);
  absl::Status failed = Error(absl::StatusCode::kUnavailable, "not yet");
  Duration backoff = seconds(1);
  EXPECT_TRUE(internal::MayRetry(ctx, options, options.max_attempts - 1, &failed, &backoff));
  EXPECT_EQ(backoff, Duration::zero());
  co_return status;
}

SEEDED_TEST(RetryTest, BacksOffUntilItSucceeds) {
  int calls = 0;
  const Time start = ctx.Now();
  absl::Status status = co_await Retry(ctx, RetryOptions(), FailTimes, &calls, 2);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(ctx.Now() - start, milliseconds(100 + 200));
  co_return status;
}

SEEDED_TEST(RetryTest, GivesTheLastErrorWhenTheAttemptsAreUsedUp) {
  int calls = 0;
  absl::Status status = co_await Retry(ctx, RetryOptions(), FailTimes, &calls, 99);
  EXPECT_EQ(status, Error(absl::StatusCode::kUnavailable, "attempt 3 of 3: not yet"));
  co_return absl::OkStatus();
}

SEEDED_TEST(RetryTest, DoesNotStartABackOffThatCannotFit) {
  int calls = 0;
  CancelScope scope(ctx, ctx.Now() + milliseconds(150), "call");
  RetryOptions options;
  options.max_attempts = 10;
  absl::Status status = co_await Retry(scope.context(), options, FailTimes, &calls, 99);
  EXPECT_EQ(status,
            Error(absl::StatusCode::kUnavailable, "no time left after attempt 2 of 10: not yet"));
  co_return absl::OkStatus();
}

SEEDED_TEST(RetryTest, StopsAtWhatIsNotRetryable) {
  int calls = 0;
  RetryOptions options;
  options.retryable = [](const absl::Status& status) { return absl::IsAborted(status); };
  absl::Status status = co_await Retry(ctx, options, FailTimes, &calls, 99);
  EXPECT_EQ(status, Error(absl::StatusCode::kUnavailable, "not yet"));
  EXPECT_EQ(calls, 1);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelAfter(Context ctx, Duration duration, const CancelScope* scope) {
  absl::Status slept = co_await Sleep(ctx, duration);
  scope->Cancel("stop");
  co_return slept;
}

Async<absl::Status> RetryWhileCancelled(Group& group, const CancelScope* scope, int* calls) {
  absl::Status spawned = co_await group.Spawn("cancel", CancelAfter, milliseconds(250), scope);
  if (!spawned.ok()) co_return spawned;
  RetryOptions options;
  options.initial_backoff = seconds(60);
  options.max_backoff = seconds(60);
  const Time start = scope->context().Now();
  absl::Status status = co_await Retry(scope->context(), options, FailTimes, calls, 99);
  EXPECT_EQ(status, scope->context().status());
  EXPECT_EQ(scope->context().Now() - start, milliseconds(250));
  co_return absl::OkStatus();
}

SEEDED_TEST(RetryTest, CancelDuringTheBackOffEndsIt) {
  int calls = 0;
  CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RetryWhileCancelled, &scope, &calls);
  EXPECT_EQ(calls, 1);
  co_return result.status;
}

SEEDED_TEST(RetryTest, RefusesNumbersThatMakeNoSense) {
  int calls = 0;
  RetryOptions none;
  none.max_attempts = 0;
  RetryOptions negative;
  negative.initial_backoff = milliseconds(-1);
  RetryOptions shrinking;
  shrinking.multiplier = -0.5;
  for (const RetryOptions& options : {none, negative, shrinking}) {
    absl::Status status = co_await Retry(ctx, options, FailTimes, &calls, 99);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
  EXPECT_EQ(calls, 0);
  co_return absl::OkStatus();
}

SEEDED_TEST(RetryTest, CancelDuringAnAttemptGivesWhatThatGave) {
  int calls = 0;
  CancelScope scope(ctx);
  auto cancel_and_fail = [](Context, int* count, const CancelScope* of) -> Async<absl::Status> {
    ++*count;
    of->Cancel("stop");
    co_return Error(absl::StatusCode::kUnavailable, "not yet");
  };
  absl::Status status =
      co_await Retry(scope.context(), RetryOptions(), cancel_and_fail, &calls, &scope);
  EXPECT_EQ(status, Error(absl::StatusCode::kUnavailable, "not yet"));
  EXPECT_EQ(calls, 1);
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery
