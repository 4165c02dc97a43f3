// The limit on live tasks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/spawner.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

const absl::Status& AtTheLimit() {
  static const absl::Status& status = *new absl::Status(
      Error(absl::StatusCode::kResourceExhausted, "the executor is at its limit of 3 live tasks"));
  return status;
}

Async<absl::Status> SleepShortly(Context ctx) { co_return co_await Sleep(ctx, seconds(1)); }

Async<absl::Status> SpawnBeyond(Group& group) {
  absl::Status first = co_await group.Spawn("first", SleepShortly);
  absl::Status second = group.TrySpawn("second", SleepShortly);
  EXPECT_TRUE(first.ok() && second.ok());
  // Each way is refused, and keeps neither a place of the group nor what the task would hold.
  absl::Status refused = co_await group.Spawn("third", SleepShortly);
  EXPECT_EQ(refused, AtTheLimit());
  EXPECT_EQ(group.TrySpawn("third", SleepShortly), AtTheLimit());
  EXPECT_EQ(Spawner(group).TrySpawn("third", SleepShortly), AtTheLimit());
  Semaphore semaphore(1);
  absl::StatusOr<Permit> permit = co_await semaphore.Acquire(group.context());
  if (!permit.ok()) co_return permit.status();
  refused = co_await group.SpawnWith(*std::move(permit), "third", SleepShortly);
  EXPECT_EQ(refused, AtTheLimit());
  EXPECT_EQ(semaphore.Stats().held, 0);
  EXPECT_EQ(group.Stats().running, 2);
  EXPECT_EQ(group.Stats().spawned, 2);

  absl::Status slept = co_await Sleep(group.context(), seconds(2));
  if (!slept.ok()) co_return slept;
  co_return co_await group.Spawn("fourth", SleepShortly);
}

SEEDED_TEST(TaskLimitTest, ASpawnBeyondIsRefusedByNameUntilATaskHasEnded) {
  SeededExecutor inner(executor.Random(1'000'000), /*max_tasks=*/3);
  absl::Status status = inner.Run("root", [](Context of) -> Async<absl::Status> {
    GroupResult result = co_await WithGroup(of, GroupOptions(), SpawnBeyond);
    co_return result.status;
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(inner.Stats().live, 0);
  co_return absl::OkStatus();
}

Async<absl::Status> GoBeyond(Group& group) {
  for (int i = 0; i < 5; ++i) {
    absl::Status spawned = co_await group.Spawn("beyond", SleepShortly);
    if (!spawned.ok()) co_return spawned;
  }
  EXPECT_EQ(group.Stats().running, 5);
  auto one = [](Group& limited) -> Async<absl::Status> {
    co_return co_await limited.Spawn("one", SleepShortly);
  };
  GroupResult refused = co_await WithGroup(group.context(), GroupOptions(), one);
  EXPECT_EQ(refused.status, AtTheLimit());
  absl::Status slept = co_await Sleep(group.context(), seconds(2));
  if (!slept.ok()) co_return slept;
  // What was beyond the limit has ended, and owes nothing.
  auto two = [](Group& limited) -> Async<absl::Status> {
    absl::Status first = co_await limited.Spawn("first", SleepShortly);
    absl::Status second = co_await limited.Spawn("second", SleepShortly);
    absl::Status third = co_await limited.Spawn("third", SleepShortly);
    EXPECT_EQ(third, AtTheLimit());
    co_return first.ok() ? second : first;
  };
  GroupResult accepted = co_await WithGroup(group.context(), GroupOptions(), two);
  co_return accepted.status;
}

SEEDED_TEST(TaskLimitTest, AGroupMayGoBeyondIt) {
  SeededExecutor inner(executor.Random(1'000'000), /*max_tasks=*/3);
  absl::Status status = inner.Run("root", [](Context of) -> Async<absl::Status> {
    GroupOptions options;
    options.beyond_max_tasks = true;
    GroupResult result = co_await WithGroup(of, options, GoBeyond);
    co_return result.status;
  });
  EXPECT_TRUE(status.ok()) << status;
  co_return absl::OkStatus();
}

// Two tasks spawn until they are refused, then all wait.
Async<absl::Status> Fill(Context, Group* group) {
  constexpr auto kWait = [](Context waiting) -> Async<absl::Status> {
    co_return co_await UntilCancelled(waiting);
  };
  for (;;) {
    absl::Status spawned = group->TrySpawn("waits", kWait);
    if (spawned.ok()) continue;
    EXPECT_EQ(spawned.code(), absl::StatusCode::kResourceExhausted) << spawned;
    co_return absl::OkStatus();
  }
}

Async<absl::Status> FillTogether(Group& group) {
  GroupOptions collect;
  collect.join = Join::Collect();
  auto body = [](Group& fillers, Group* filled) -> Async<absl::Status> {
    absl::Status one = co_await fillers.Spawn("one", Fill, filled);
    absl::Status two = co_await fillers.Spawn("two", Fill, filled);
    co_return one.ok() ? two : one;
  };
  GroupResult result = co_await WithGroup(group.context(), collect, body, &group);
  co_return result.status;
}

// Times that the limit was reached, to the task.
Async<absl::Status> FillTwice(Context ctx, Executor* executor, int64_t limit) {
  for (int times = 0; times < 2; ++times) {
    const CancelScope scope(ctx);
    auto body = [](Group& group, Executor* of, const CancelScope* ends,
                   int64_t expected) -> Async<absl::Status> {
      absl::Status filled = co_await FillTogether(group);
      // Both have ended meanwhile, and one could have made place for the other.
      EXPECT_GE(of->Stats().live, expected - 2);
      EXPECT_LE(of->Stats().live, expected);
      ends->Cancel("full");
      co_return filled;
    };
    GroupResult result =
        co_await WithGroup(scope.context(), GroupOptions(), body, executor, &scope, limit);
    EXPECT_EQ(Message(result.status), "full");
    EXPECT_EQ(executor->Stats().live, 1);
  }
  co_return absl::OkStatus();
}

TEST(TaskLimitTest, ThreadsReachItTogetherAndItsPlacesComeBack) {
  ThreadExecutorOptions options;
  options.workers = 2;
  options.max_tasks = 1000;
  ThreadExecutor executor(options);
  absl::Status status = executor.Run("root", [&executor, &options](Context ctx) {
    return FillTwice(std::move(ctx), &executor, options.max_tasks);
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Leaves the thread with places for three tasks that it uses no more.
Async<absl::Status> TakeThreePlaces(Group& group, const CancelScope* ends) {
  for (int i = 0; i < 3; ++i) {
    absl::Status spawned = co_await group.Spawn("waits", [](Context ctx) -> Async<absl::Status> {
      co_return co_await UntilCancelled(ctx);
    });
    if (!spawned.ok()) co_return spawned;
  }
  ends->Cancel("enough");
  co_return absl::OkStatus();
}

// A root begins, on another thread, when no place is left but those.
Async<absl::Status> SpawnBesideARoot(Group& group, ThreadExecutor* executor) {
  const CancelScope scope(group.context());
  GroupResult taken = co_await WithGroup(scope.context(), GroupOptions(), TakeThreePlaces, &scope);
  EXPECT_EQ(Message(taken.status), "enough");
  Semaphore gate(1);
  std::optional<Permit> closed = gate.TryAcquire();
  auto wait = [](Context ctx, Semaphore* of) -> Async<absl::Status> {
    absl::StatusOr<Permit> permit = co_await of->Acquire(ctx);
    co_return permit.status();
  };
  auto run_root = [executor, wait, &gate] {
    return executor->Run("other root", [&](Context ctx) { return wait(std::move(ctx), &gate); });
  };
  auto run = [](Context ctx, auto root) -> Async<absl::Status> {
    co_return co_await RunBlocking(ctx, std::move(root));
  };
  absl::Status spawned = co_await group.Spawn("beside", run, std::move(run_root));
  if (!spawned.ok()) co_return spawned;
  while (executor->Stats().live < 3) co_await Yield();
  absl::Status last = group.TrySpawn("last", wait, &gate);
  EXPECT_TRUE(last.ok()) << last;
  absl::Status beyond = group.TrySpawn("beyond", wait, &gate);
  EXPECT_EQ(beyond.code(), absl::StatusCode::kResourceExhausted) << beyond;
  closed.reset();
  // The gate stays until nobody waits at it.
  while (executor->Stats().live > 1) co_await Yield();
  co_return spawned;
}

Async<absl::Status> RunBesideARoot(Context ctx, ThreadExecutor* executor) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnBesideARoot, executor);
  co_return result.status;
}

TEST(TaskLimitTest, ARootTakesPlacesThatOtherThreadsKeep) {
  ThreadExecutorOptions options;
  options.workers = 1;
  options.max_tasks = 4;
  ThreadExecutor executor(options);
  absl::Status status = executor.Run(
      "root", [&executor](Context ctx) { return RunBesideARoot(std::move(ctx), &executor); });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
