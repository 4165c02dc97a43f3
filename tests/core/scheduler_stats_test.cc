#include "nursery/core/scheduler_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/scheduler.h"
#include "nursery/core/internal/worker.h"
#include "nursery/core/sleep.h"
#include "nursery/testing/seeded_executor.h"
#include "tests/core/timer_descriptor.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

int64_t Sum(const DurationHistogram& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(), int64_t{0});
}

TEST(SchedulerStatsTest, ADurationIsInTheFirstBucketThatItDoesNotExceed) {
  internal::DurationCounts counts;
  const std::vector<nanoseconds> durations = {
      nanoseconds(-1),  nanoseconds(0),   nanoseconds(256),     nanoseconds(257),
      nanoseconds(512), nanoseconds(513), std::chrono::hours(1)};
  Duration sum{};
  for (const nanoseconds duration : durations) {
    counts.Add(duration);
    sum += duration;
  }
  DurationHistogram histogram;
  counts.AddTo(histogram);
  EXPECT_EQ(histogram.counts[0], 3);
  EXPECT_EQ(histogram.counts[1], 2);
  EXPECT_EQ(histogram.counts[2], 1);
  EXPECT_EQ(histogram.counts[DurationHistogram::kBuckets - 1], 1);
  EXPECT_EQ(Sum(histogram), 7);
  EXPECT_EQ(histogram.sum, sum);
  EXPECT_EQ(DurationHistogram::UpperBound(0), nanoseconds(256));
  EXPECT_EQ(DurationHistogram::UpperBound(2), nanoseconds(1024));
}

TEST(SchedulerStatsTest, OneInSixtyOneIsTimedOnItsWayAndThere) {
  constexpr int kYields = 6110;  // the last slice ends after Run, untimed
  ThreadExecutor executor(1);
  absl::Status status = executor.Run("root", [](Context) -> Async<absl::Status> {
    for (int i = 0; i < kYields; ++i) co_await Yield();
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
  const SchedulerStats stats = executor.Stats().scheduler;
  EXPECT_EQ(stats.threads, 1);
  // One more if this thread, which starts the root, has come to its 61st task.
  EXPECT_THAT(Sum(stats.latency), testing::AnyOf(kYields / 61, kYields / 61 + 1));
  EXPECT_EQ(Sum(stats.slices), Sum(stats.latency));
  EXPECT_GT(stats.slices.sum, Duration::zero());
}

TEST(SchedulerStatsTest, ASliceIsCountedOnceItIsLongAndNamedOnceItIsAStall) {
  const ManualClock clock;
  internal::TaskRegistry registry(clock, 10);
  internal::TaskRecord task;
  task.name = "hog";
  ASSERT_TRUE(registry.Add(&task));
  internal::Scheduler scheduler(/*workers=*/1, [] {});
  internal::Worker& guest = *scheduler.AddGuest();
  std::vector<nanoseconds> named;
  const auto look = [&](int at) {
    scheduler.Look(Time(milliseconds(at)), registry, [&named](const Stall& stall) {
      EXPECT_EQ(stall.name, "hog");
      named.push_back(stall.length);
    });
    return scheduler.Stats();
  };
  guest.slices.store(1);
  guest.running.store(&task);
  look(0);
  EXPECT_EQ(look(9).long_slices, 0);
  EXPECT_EQ(look(10).long_slices, 1);
  EXPECT_EQ(look(99).long_slices, 1);
  EXPECT_EQ(named.size(), 0);
  EXPECT_EQ(look(100).stalled, milliseconds(100));
  EXPECT_EQ(look(300).stalled, milliseconds(300));
  EXPECT_THAT(named, testing::ElementsAre(milliseconds(100)));
  // Another slice of the same task; a thread that runs none.
  guest.slices.store(2);
  look(310);
  EXPECT_EQ(look(319).long_slices, 1);
  EXPECT_EQ(look(320).long_slices, 2);
  guest.running.store(nullptr);
  look(330);
  EXPECT_EQ(look(1000).stalled, milliseconds(310));
  EXPECT_EQ(named.size(), 1);
  scheduler.RemoveGuest(guest);
  registry.Remove(&task);
}

struct Named {
  std::atomic<bool> told{false};
  std::vector<Stall> stalls;  // before told
};

ThreadExecutorOptions NamingTo(Named* named) {
  ThreadExecutorOptions options;
  options.workers = 2;
  options.on_stall = [named](const Stall& stall) {
    // A busy machine may take its core from anybody for so long.
    if (stall.name != "hog") return;
    named->stalls.push_back(stall);
    named->told.store(true);
  };
  return options;
}

Async<absl::Status> SpawnHog(Group& group, Named* named) {
  auto hog = [](Context, Named* until) -> Async<absl::Status> {
    co_await Yield();
    while (!until->told.load()) {
    }
    co_return absl::OkStatus();
  };
  co_return co_await group.Spawn("hog", hog, named);
}

Async<absl::Status> RunHog(Context ctx, Named* named) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnHog, named);
  co_return result.status;
}

TEST(SchedulerStatsTest, ATaskThatKeepsItsThreadIsNamedOnce) {
  Named named;
  ThreadExecutor executor(NamingTo(&named));
  absl::Status status =
      executor.Run("root", [&named](Context ctx) { return RunHog(std::move(ctx), &named); });
  EXPECT_TRUE(status.ok());
  ASSERT_EQ(named.stalls.size(), 1);
  const Stall& stall = named.stalls.front();
  EXPECT_EQ(stall.name, "hog");
  EXPECT_NE(stall.at.find("scheduler_stats_test.cc:"), std::string::npos) << stall.at;
  EXPECT_NE(stall.spawned_at.find("scheduler_stats_test.cc:"), std::string::npos);
  EXPECT_GE(stall.length, kNamedStall);
  std::ostringstream line;
  line << stall;
  EXPECT_THAT(line.str(), testing::MatchesRegex("task 2 hog for [0-9.]+(s|ms), at .*, spawned at "
                                                ".*scheduler_stats_test.cc:[0-9]+"));
  const SchedulerStats stats = executor.Stats().scheduler;
  EXPECT_GE(stats.long_slices, 1);
  EXPECT_GE(stats.stalled, kNamedStall);
}

TEST(SchedulerStatsTest, ACallThatBlocksWhereItMayIsNoStall) {
  Named named;
  ThreadExecutor executor(NamingTo(&named));
  absl::Status status = executor.Run("hog", [](Context ctx) -> Async<absl::Status> {
    auto block = []() -> absl::Status {
      TimerDescriptor(milliseconds(150)).Read();
      return absl::OkStatus();
    };
    co_return co_await RunBlocking(ctx, block);
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(named.stalls.size(), 0);
}

}  // namespace
}  // namespace nursery
