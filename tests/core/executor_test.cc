#include "nursery/core/executor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

TEST(ExecutorTest, RunReturnsTheRootsStatus) {
  ThreadExecutor executor(1);
  absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
    absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(1));
    co_return slept.ok() ? Error(absl::StatusCode::kDataLoss, "as given") : slept;
  });
  EXPECT_EQ(status, Error(absl::StatusCode::kDataLoss, "as given"));
  EXPECT_EQ(executor.Stats().live, 0);
  EXPECT_EQ(executor.Stats().created, 1);
}

TEST(ExecutorTest, OtherThreadsMayReadTheTimeOfASeededOne) {
  ManualClock clock;
  const Time start = clock.Now();
  std::thread other([&clock, start] { EXPECT_GE(clock.Now(), start); });
  clock.Set(start + std::chrono::seconds(1));
  other.join();
  EXPECT_EQ(clock.CoarseNow(), start + std::chrono::seconds(1));
}

TEST(ExecutorTest, TheTimeOfRecordsGoesOnWhileTasksRun) {
  ThreadExecutor executor(1);
  absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
    const Clock& clock = ctx.executor().clock();
    for (int i = 0; i < 3; ++i) {
      const Time start = clock.RecordNow();
      while (clock.RecordNow() == start) co_await Yield();
      EXPECT_GT(clock.RecordNow(), start);
      EXPECT_LE(clock.RecordNow(), clock.Now());
    }
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
}

TEST(ExecutorTest, WhatDecidesDoesNotGoByTheTimeOfRecords) {
  const Clock& clock = Clock::Steady();
  internal::KeepRecordTime();
  const Time kept = clock.RecordNow();
  while (clock.CoarseNow() == kept) {
  }
  EXPECT_EQ(clock.RecordNow(), kept);
  internal::DropRecordTime();
  EXPECT_GT(clock.RecordNow(), kept);
}

TEST(ExecutorTest, RunsAgainAfterARun) {
  ThreadExecutor executor(2);
  for (int i = 0; i < 100; ++i) {
    absl::Status status = executor.Run("root", [](Context) -> Async<absl::Status> {
      co_await Yield();
      co_return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok());
  }
}

TEST(SeededExecutorTest, TheSameSeedGivesTheSameRun) {
  auto schedule = [](uint64_t seed) {
    SeededExecutor executor(seed);
    absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
      auto leaf = [](Context child) -> Async<absl::Status> {
        for (int i = 0; i < 5; ++i) co_await Yield();
        co_return child.status();
      };
      auto body = [](Group& group, decltype(leaf) run) -> Async<absl::Status> {
        for (int i = 0; i < 5; ++i) {
          absl::Status spawned = co_await group.Spawn("leaf", run);
          if (!spawned.ok()) co_return spawned;
        }
        co_return absl::OkStatus();
      };
      GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, leaf);
      co_return result.status;
    });
    EXPECT_TRUE(status.ok());
    return executor.schedule();
  };
  EXPECT_EQ(schedule(7), schedule(7));
  EXPECT_NE(schedule(7), schedule(8));
}

// Two tasks each wait for what only the other could send.
Async<absl::Status> Starve(Group& group) {
  auto wait = [](Context child, Receiver<int> receiver, Sender<int>) -> Async<absl::Status> {
    absl::StatusOr<int> got = co_await receiver.Receive(child);
    co_return got.status();
  };
  auto [one_sender, one_receiver] = MakeChannel<int>(0);
  auto [two_sender, two_receiver] = MakeChannel<int>(0);
  absl::Status one = co_await group.Spawn("one", wait, one_receiver, two_sender);
  absl::Status two = co_await group.Spawn("two", wait, two_receiver, one_sender);
  co_return one.ok() ? two : one;
}

TEST(SeededExecutorTest, SaysSoWhenAllTasksAreAsleep) {
  SeededExecutor executor(1);
  absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), Starve);
    co_return result.status;
  });
  EXPECT_TRUE(IsDeadlock(status)) << status;
  EXPECT_NE(Message(status).find("channel receive"), std::string_view::npos) << status;
  EXPECT_NE(Message(status).find("group join"), std::string_view::npos) << status;
  // The joins are not what it hangs on.
  const std::string_view cause = Message(status).substr(0, Message(status).find("\nof all, "));
  EXPECT_NE(cause.find("nothing wakes\n2 tasks in 2 groups\n"), std::string_view::npos) << cause;
  EXPECT_NE(cause.find("] two\n"), std::string_view::npos) << cause;
  EXPECT_EQ(cause.find("group join"), std::string_view::npos) << cause;
}

}  // namespace
}  // namespace nursery
