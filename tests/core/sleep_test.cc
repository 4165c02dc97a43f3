#include "nursery/core/sleep.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SEEDED_TEST(SleepTest, TakesItsTimeAndNoMore) {
  const Time start = ctx.Now();
  absl::Status slept = co_await Sleep(ctx, milliseconds(250));
  EXPECT_EQ(ctx.Now() - start, milliseconds(250));
  absl::Status past = co_await SleepUntil(ctx, start);
  EXPECT_EQ(ctx.Now() - start, milliseconds(250));
  co_return slept.ok() ? past : slept;
}

Async<absl::Status> Note(Context ctx, std::vector<int>* order, int id, Duration delay) {
  absl::Status slept = co_await Sleep(ctx, delay);
  order->push_back(id);
  co_return slept;
}

SEEDED_TEST(SleepTest, EarlierInstantsComeFirst) {
  std::vector<int> order;
  auto body = [](Group& group, std::vector<int>* of,
                 SeededExecutor* random) -> Async<absl::Status> {
    // Distinct instants in a random order of arming; far enough apart for any schedule.
    std::vector<int> ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t i = ids.size() - 1; i > 0; --i) std::swap(ids[i], ids[random->Random(i + 1)]);
    for (int id : ids) {
      absl::Status spawned =
          co_await group.Spawn("sleeper", Note, of, id, Duration(seconds(10 * (id + 1))));
      if (!spawned.ok()) co_return spawned;
    }
    co_return absl::OkStatus();
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &order, &executor);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 10u);
  co_return result.status;
}

SEEDED_TEST(SleepTest, CancelEndsItAtOnceAndDisarmsTheTimer) {
  CancelScope scope(ctx, ctx.Now() + seconds(1), "short");
  absl::Status slept = co_await Sleep(scope.context(), seconds(100));
  EXPECT_TRUE(absl::IsDeadlineExceeded(slept));
  EXPECT_EQ(executor.timers().size(), 0u);
  co_return absl::OkStatus();
}

SEEDED_TEST(SleepTest, YieldLetsOthersRun) {
  bool other_ran = false;
  auto other = [](Context, bool* ran) -> Async<absl::Status> {
    *ran = true;
    co_return absl::OkStatus();
  };
  auto body = [](Group& group, decltype(other) run, bool* ran) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("other", run, ran);
    for (int i = 0; i < 1000 && !*ran; ++i) co_await Yield();
    EXPECT_TRUE(*ran);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, other, &other_ran);
  co_return result.status;
}

TEST(SleepStressTest, ThousandsOfTimersOnThreads) {
  ThreadExecutor executor(2);
  auto sleeper = [](Context ctx, int i) -> Async<absl::Status> {
    co_return co_await Sleep(ctx, std::chrono::microseconds(i % 700));
  };
  auto body = [](Group& group, decltype(sleeper) run) -> Async<absl::Status> {
    for (int i = 0; i < 3000; ++i) {
      absl::Status spawned = co_await group.Spawn("sleeper", run, i);
      if (!spawned.ok()) co_return spawned;
    }
    co_return absl::OkStatus();
  };
  absl::Status status = executor.Run("stress", [&](Context ctx) {
    return [](Context root, decltype(body) spawn, decltype(sleeper) run) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(root, GroupOptions(), spawn, run);
      EXPECT_EQ(result.succeeded, 3000);
      co_return result.status;
    }(std::move(ctx), body, sleeper);
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Timers that are cancelled while they fire, from two threads.
TEST(SleepStressTest, CancelRacesWithExpiry) {
  ThreadExecutor executor(2);
  auto race = [](Context ctx, int i) -> Async<absl::Status> {
    const Time instant = ctx.Now() + std::chrono::microseconds(i % 200);
    CancelScope scope(ctx, instant, "race");
    absl::Status slept = co_await SleepUntil(scope.context(), instant);
    co_return slept.ok() || absl::IsDeadlineExceeded(slept) ? absl::OkStatus() : slept;
  };
  auto body = [](Group& group, decltype(race) run) -> Async<absl::Status> {
    for (int i = 0; i < 3000; ++i) {
      absl::Status spawned = co_await group.Spawn("race", run, i);
      if (!spawned.ok()) co_return spawned;
    }
    co_return absl::OkStatus();
  };
  absl::Status status = executor.Run("stress", [&](Context ctx) {
    return [](Context root, decltype(body) spawn, decltype(race) run) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(root, GroupOptions(), spawn, run);
      co_return result.status;
    }(std::move(ctx), body, race);
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
