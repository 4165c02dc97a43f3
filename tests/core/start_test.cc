#include "nursery/core/start.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

absl::Status Refused() { return Error(absl::StatusCode::kUnavailable, "address in use"); }

// Says `port` after a second, then serves for another; a port below 0 fails before.
Async<absl::Status> Serve(Context ctx, Started<int> started, int port, bool* ended) {
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  if (port < 0) co_return Refused();
  absl::Status told = started.Set(port);
  // A spawner that was cancelled may be gone already, or not.
  EXPECT_TRUE(told.ok() || !slept.ok()) << told;
  EXPECT_EQ(started.Set(port), Error(absl::StatusCode::kFailedPrecondition,
                                     "the task has said before that it started"));
  absl::Status served = co_await Sleep(ctx, seconds(1));
  *ended = true;
  co_return served;
}

Async<absl::Status> StartAndUse(Group& group, int port, bool* ended) {
  const Time start = group.context().Now();
  absl::StatusOr<int> got = co_await StartTask<int>(group, "server", Serve, port, ended);
  if (!got.ok()) co_return got.status();
  EXPECT_EQ(*got, port);
  EXPECT_EQ(group.context().Now() - start, seconds(1));
  EXPECT_FALSE(*ended);
  EXPECT_EQ(group.Stats().running, 1);
  co_return absl::OkStatus();
}

SEEDED_TEST(StartTest, GoesOnWithTheValueWhileTheTaskRuns) {
  bool ended = false;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), StartAndUse, 80, &ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(result.succeeded, 1);
  co_return result.status;
}

SEEDED_TEST(StartTest, ATaskThatEndsBeforeItHasStartedIsAnError) {
  auto body = [](Group& group, bool* ended) -> Async<absl::Status> {
    absl::Status started = co_await StartAndUse(group, -1, ended);
    EXPECT_EQ(started, Error(absl::StatusCode::kFailedPrecondition,
                             "task server ended before it said that it had started"));
    co_return absl::OkStatus();
  };
  bool ended = false;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &ended);
  EXPECT_EQ(result.status, Refused());
  co_return absl::OkStatus();
}

SEEDED_TEST(StartTest, ACancelEndsTheWaitForTheStart) {
  CancelScope scope(ctx, ctx.Now() + std::chrono::milliseconds(500), "patience");
  bool ended = false;
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), StartAndUse, 80, &ended);
  EXPECT_EQ(result.status,
            Error(absl::StatusCode::kDeadlineExceeded, "deadline of patience exceeded"));
  EXPECT_TRUE(ended);
  co_return absl::OkStatus();
}

Async<absl::Status> Ready(Context ctx, Started<> started, bool* ready) {
  co_await Yield();
  *ready = true;
  absl::Status told = started.Set();
  co_return told.ok() ? ctx.status() : told;
}

SEEDED_TEST(StartTest, NeedsNoValue) {
  auto body = [](Group& group) -> Async<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      bool ready = false;
      absl::StatusOr<std::monostate> started = co_await StartTask(group, "task", Ready, &ready);
      EXPECT_TRUE(ready);
      if (!started.ok()) co_return started.status();
    }
    co_return absl::OkStatus();
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  co_return result.status;
}

TEST(StartStressTest, ManyHandshakesOnThreads) {
  ThreadExecutor executor(2);
  auto body = [](Group& group) -> Async<absl::Status> {
    for (int i = 0; i < 2000; ++i) {
      auto ready = std::make_unique<bool>(false);
      absl::StatusOr<std::monostate> started =
          co_await StartTask(group, "task", Ready, ready.get());
      if (!started.ok()) co_return started.status();
      EXPECT_TRUE(*ready);
    }
    co_return absl::OkStatus();
  };
  absl::Status status = executor.Run("stress", [body](Context ctx) {
    return [](Context root, decltype(body) run) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(root, GroupOptions(), run);
      EXPECT_EQ(result.succeeded, 2000);
      co_return result.status;
    }(std::move(ctx), body);
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
