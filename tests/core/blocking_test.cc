#include "nursery/core/blocking.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

SEEDED_TEST(BlockingTest, GivesTheResult) {
  auto work = [] { return absl::StatusOr<std::string>("done"); };
  absl::StatusOr<std::string> text = co_await RunBlocking(ctx, work);
  EXPECT_EQ(*text, "done");
  auto failing = [] { return Error(absl::StatusCode::kDataLoss, "torn"); };
  absl::Status status = co_await RunBlocking(ctx, failing);
  EXPECT_EQ(status, Error(absl::StatusCode::kDataLoss, "torn"));
  co_return absl::OkStatus();
}

SEEDED_TEST(BlockingTest, AnExceptionIsAnError) {
  auto work = []() -> absl::StatusOr<int> { throw std::runtime_error("torn"); };
  absl::StatusOr<int> number = co_await RunBlocking(ctx, work);
  EXPECT_EQ(number.status(), Error(absl::StatusCode::kInternal, "exception: torn"));
  co_return absl::OkStatus();
}

SEEDED_TEST(BlockingTest, ACancelledContextStartsNothing) {
  CancelScope scope(ctx);
  scope.Cancel("stop");
  bool called = false;
  auto work = [&called] {
    called = true;
    return absl::OkStatus();
  };
  absl::Status status = co_await RunBlocking(scope.context(), work);
  EXPECT_TRUE(absl::IsCancelled(status));
  EXPECT_FALSE(called);
  co_return absl::OkStatus();
}

// On the only thread: it ends when the other one has given up.
Async<absl::Status> WaitOnThread(Context ctx, std::atomic<bool>* started,
                                 std::atomic<bool>* go_on) {
  auto wait = [started, go_on] {
    started->store(true);
    started->notify_all();
    go_on->wait(false);
    return absl::OkStatus();
  };
  co_return co_await RunBlocking(ctx, wait);
}

Async<absl::Status> CancelWhoWaitsForTheThread(Group& group) {
  std::atomic<bool> started = false;
  std::atomic<bool> go_on = false;
  absl::Status spawned = co_await group.Spawn("first", WaitOnThread, &started, &go_on);
  if (!spawned.ok()) co_return spawned;
  started.wait(false);
  CancelScope scope(group.context(), group.context().Now() + std::chrono::milliseconds(1), "test");
  bool called = false;
  auto work = [&called] {
    called = true;
    return absl::OkStatus();
  };
  absl::Status status = co_await RunBlocking(scope.context(), work);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  go_on.store(true);
  go_on.notify_all();
  // Behind whatever waits for the thread.
  auto nothing = [] { return absl::OkStatus(); };
  absl::Status last = co_await RunBlocking(group.context(), nothing);
  EXPECT_FALSE(called);
  co_return last;
}

TEST(BlockingThreadTest, WhoIsCancelledWaitsForNoThread) {
  ThreadExecutor executor(2, /*blocking_threads=*/1);
  absl::Status status = executor.Run("test", [](Context ctx) -> Async<absl::Status> {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), CancelWhoWaitsForTheThread);
    co_return result.status;
  });
  EXPECT_TRUE(status.ok()) << status;
}

Async<absl::Status> RunInner(Executor* executor) {
  auto root = [](Context) -> Async<absl::Status> { co_return absl::OkStatus(); };
  co_return executor->Run("inner", root);
}

TEST(ExecutorTest, RunIsNotForTasks) {
  ThreadExecutor executor(1);
  ThreadExecutor other(1);
  for (ThreadExecutor* inner : {&executor, &other}) {
    absl::Status status = executor.Run("outer", [inner](Context) { return RunInner(inner); });
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
}

Async<absl::Status> CountOnThread(Context ctx, std::atomic<int>* count) {
  auto work = [count] {
    ++*count;
    return absl::OkStatus();
  };
  co_return co_await RunBlocking(ctx, work);
}

Async<absl::Status> SpawnCounters(Group& group, std::atomic<int>* count) {
  for (int i = 0; i < 500; ++i) {
    absl::Status spawned = co_await group.Spawn("count", CountOnThread, count);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

TEST(BlockingStressTest, ManyCallsOnFewThreads) {
  std::atomic<int> count = 0;
  ThreadExecutor executor(2, /*blocking_threads=*/3);
  absl::Status status = executor.Run("stress", [&count](Context ctx) {
    return [](Context root, std::atomic<int>* counter) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(root, GroupOptions(), SpawnCounters, counter);
      co_return result.status;
    }(std::move(ctx), &count);
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(count, 500);
}

}  // namespace
}  // namespace nursery
