#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "nursery/core/channel.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/run_queue.h"
#include "nursery/core/sleep.h"

namespace nursery {
namespace {

using internal::RunQueue;
using internal::TaskRecord;

class RunQueueOrderTest : public testing::TestWithParam<bool> {};

TEST_P(RunQueueOrderTest, RunsInOrderAfterTheOneWokenLast) {
  RunQueue queue;
  if (GetParam()) queue.KeepAll();
  std::vector<TaskRecord> tasks(4);
  EXPECT_TRUE(queue.PushBack(&tasks[0]));
  EXPECT_TRUE(queue.PushBack(&tasks[1]));
  EXPECT_EQ(queue.PushNext(&tasks[2]), nullptr);
  EXPECT_EQ(queue.PushNext(&tasks[3]), &tasks[2]);
  EXPECT_EQ(queue.PopNext(), &tasks[3]);
  EXPECT_EQ(queue.PopNext(), nullptr);
  EXPECT_EQ(queue.PopFront(), &tasks[0]);
  EXPECT_EQ(queue.PopFront(), &tasks[1]);
  EXPECT_EQ(queue.PopFront(), nullptr);
}

TEST_P(RunQueueOrderTest, TakesAsManyAsThereIsRoomFor) {
  RunQueue queue;
  if (GetParam()) queue.KeepAll();
  std::vector<TaskRecord> tasks(300);
  internal::WakeList woken;
  for (TaskRecord& task : tasks) woken.Push(&task);
  EXPECT_EQ(queue.PushSome(woken, 10), 10U);
  EXPECT_EQ(queue.PushSome(woken, 1000), 246U);
  EXPECT_EQ(queue.PushSome(woken, 1), 0U);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(queue.PopFront(), &tasks[i]);
  EXPECT_EQ(queue.PushSome(woken, 1000), 44U);
  EXPECT_EQ(queue.PushSome(woken, 1000), 0U);
  for (size_t i = 256; i < 300; ++i) EXPECT_EQ(queue.PopFront(), &tasks[i]);
  EXPECT_EQ(queue.PopFront(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(KeepsAll, RunQueueOrderTest, testing::Bool());

TEST(RunQueueTest, RefusesMoreThanItHolds) {
  RunQueue queue;
  TaskRecord task;
  int pushed = 0;
  while (queue.PushBack(&task)) ++pushed;
  EXPECT_EQ(pushed, 256);
  EXPECT_EQ(queue.PopFront(), &task);
  EXPECT_TRUE(queue.PushBack(&task));
  while (queue.PopFront() != nullptr) {
  }
}

TEST(RunQueueTest, StealsHalf) {
  RunQueue victim;
  RunQueue thief;
  std::vector<TaskRecord> tasks(5);
  for (TaskRecord& task : tasks) EXPECT_TRUE(victim.PushBack(&task));
  EXPECT_EQ(thief.StealFrom(victim), &tasks[2]);
  EXPECT_EQ(thief.size(), 2U);
  EXPECT_EQ(victim.size(), 2U);
  EXPECT_EQ(thief.PopFront(), &tasks[0]);
  EXPECT_EQ(victim.PopFront(), &tasks[3]);
  EXPECT_EQ(thief.PopFront(), &tasks[1]);
  EXPECT_EQ(thief.StealFrom(victim), &tasks[4]);
  EXPECT_EQ(thief.StealFrom(victim), nullptr);
}

// Each task is taken once, whoever takes it.
TEST(RunQueueStressTest, OwnerAndThievesShareWithoutLossOrRepeat) {
  constexpr int kTasks = 100'000;
  std::vector<TaskRecord> tasks(kTasks);
  for (int i = 0; i < kTasks; ++i) tasks[static_cast<size_t>(i)].id = static_cast<uint64_t>(i);
  std::vector<std::atomic<int>> taken(kTasks);
  std::atomic<int> left{kTasks};
  const auto take = [&](const TaskRecord* task) {
    taken[task->id].fetch_add(1);
    left.fetch_sub(1);
  };
  RunQueue queue;
  std::vector<std::thread> thieves;
  for (int i = 0; i < 2; ++i) {
    thieves.emplace_back([&] {
      RunQueue own;
      while (left.load() > 0) {
        if (const TaskRecord* task = own.StealFrom(queue)) take(task);
        while (const TaskRecord* task = own.PopFront()) take(task);
        std::this_thread::yield();
      }
    });
  }
  for (TaskRecord& task : tasks) {
    while (!queue.PushBack(&task)) {
      if (const TaskRecord* popped = queue.PopFront()) take(popped);
    }
  }
  while (const TaskRecord* task = queue.PopFront()) take(task);
  for (std::thread& thief : thieves) thief.join();
  for (const std::atomic<int>& count : taken) ASSERT_EQ(count.load(), 1);
}

// Blocks its thread until `count` tasks do, which therefore run at once.
Async<absl::Status> MeetOthers(Context, std::atomic<int>* arrived, int count) {
  arrived->fetch_add(1);
  while (arrived->load() < count) std::this_thread::yield();
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnMeeting(Group& group, std::atomic<int>* arrived, int count) {
  for (int i = 0; i < count; ++i) {
    absl::Status spawned = co_await group.Spawn("meet", MeetOthers, arrived, count);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> MeetAll(Context ctx, int count) {
  std::atomic<int> arrived{0};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnMeeting, &arrived, count);
  co_return result.status;
}

// Sleeping workers are woken for tasks that one of them spawns, every time.
TEST(SchedulerStressTest, EveryWorkerGetsWork) {
  for (int workers = 1; workers <= 4; ++workers) {
    ThreadExecutor executor(workers);
    for (int round = 0; round < 200; ++round) {
      const absl::Status met =
          executor.Run("root", [workers](Context ctx) { return MeetAll(std::move(ctx), workers); });
      ASSERT_TRUE(met.ok()) << met;
    }
  }
}

Async<absl::Status> SpinAround(Context, int yields) {
  for (int i = 0; i < yields; ++i) co_await Yield();
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnSpinners(Group& group, int count, int yields) {
  for (int i = 0; i < count; ++i) {
    absl::Status spawned = co_await group.Spawn("spin", SpinAround, yields);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> RunSpinners(Context ctx, int count, int yields) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnSpinners, count, yields);
  EXPECT_EQ(result.succeeded, count);
  co_return result.status;
}

// Wakes a task, which it would run next, and then blocks its thread until that one has run.
Async<absl::Status> WakeAndBlock(Context ctx, Sender<int> wake, std::promise<void>* ran) {
  absl::Status sent = co_await wake.Send(ctx, 1);
  ran->get_future().wait();
  co_return sent;
}

Async<absl::Status> RunOnceWoken(Context ctx, Receiver<int> woken, std::promise<void>* ran) {
  absl::StatusOr<int> got = co_await woken.Receive(ctx);
  ran->set_value();
  co_return got.status();
}

Async<absl::Status> SpawnPair(Group& group, std::promise<void>* ran) {
  auto [sender, receiver] = MakeChannel<int>(0);
  absl::Status spawned = co_await group.Spawn("woken", RunOnceWoken, receiver, ran);
  if (spawned.ok()) spawned = co_await group.Spawn("waker", WakeAndBlock, sender, ran);
  co_return spawned;
}

// After a time in which nothing runs.
Async<absl::Status> RunPair(Context ctx, Duration quiet) {
  absl::Status slept = co_await Sleep(ctx, quiet);
  if (!slept.ok()) co_return slept;
  std::promise<void> ran;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnPair, &ran);
  co_return result.status;
}

// Also when nobody has watched for a while.
TEST(SchedulerStressTest, WhatAWakerLeavesBehindRunsElsewhere) {
  ThreadExecutor executor(2);
  for (int round = 0; round < 50; ++round) {
    const std::chrono::milliseconds quiet(round % 10 == 0 ? 150 : 0);
    const absl::Status ran =
        executor.Run("root", [quiet](Context ctx) { return RunPair(std::move(ctx), quiet); });
    ASSERT_TRUE(ran.ok()) << ran;
  }
}

Async<absl::Status> MeetOnceClosed(Context ctx, Receiver<int> closed, std::atomic<int>* arrived,
                                   int count) {
  const absl::StatusOr<int> end = co_await closed.Receive(ctx);
  EXPECT_FALSE(end.ok());
  co_return co_await MeetOthers(ctx, arrived, count);
}

// All but one wait for the channel's end, which the last one brings about when the others sleep.
Async<absl::Status> SpawnClosing(Group& group, std::atomic<int>* arrived, int count,
                                 Duration quiet) {
  auto [sender, receiver] = MakeChannel<int>(0);
  for (int i = 1; i < count; ++i) {
    absl::Status spawned = co_await group.Spawn("closed", MeetOnceClosed, receiver, arrived, count);
    if (!spawned.ok()) co_return spawned;
  }
  absl::Status slept = co_await Sleep(group.context(), quiet);
  if (!slept.ok()) co_return slept;
  if (absl::Status closed = sender.Close(); !closed.ok()) co_return closed;
  co_return co_await MeetOthers(group.context(), arrived, count);
}

Async<absl::Status> MeetAtTheEnd(Context ctx, int count, Duration quiet) {
  std::atomic<int> arrived{0};
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), SpawnClosing, &arrived, count, quiet);
  co_return result.status;
}

// Also the first, which the waker would run next, and also when nobody has watched for a while.
TEST(SchedulerStressTest, EachOfManyWokenAtOnceGetsAWorker) {
  for (int workers = 2; workers <= 4; ++workers) {
    ThreadExecutor executor(workers);
    for (int round = 0; round < 50; ++round) {
      const std::chrono::milliseconds quiet(round % 10 == 0 ? 150 : 1);
      const absl::Status met = executor.Run("root", [workers, quiet](Context ctx) {
        return MeetAtTheEnd(std::move(ctx), workers, quiet);
      });
      ASSERT_TRUE(met.ok()) << met;
    }
  }
}

// More tasks than a worker's queue holds.
TEST(SchedulerStressTest, ALongQueueIsShared) {
  ThreadExecutor executor(2);
  const absl::Status ran =
      executor.Run("root", [](Context ctx) { return RunSpinners(std::move(ctx), 5000, 10); });
  EXPECT_TRUE(ran.ok()) << ran;
}

// Two tasks that only wake each other do not keep the third from running.
Async<absl::Status> Forward(Context ctx, Receiver<int> from, Sender<int> to) {
  for (;;) {
    absl::StatusOr<int> ball = co_await from.Receive(ctx);
    if (!ball.ok()) co_return absl::OkStatus();
    absl::Status passed = co_await to.Send(ctx, *ball);
    if (!passed.ok()) co_return absl::OkStatus();
  }
}

Async<absl::Status> EndTheGame(Context ctx, const CancelScope* game) {
  for (int i = 0; i < 10; ++i) co_await Yield();
  game->Cancel("enough");
  co_return ctx.status();
}

Async<absl::Status> SpawnGame(Group& group, const CancelScope* game) {
  auto [ping_sender, ping_receiver] = MakeChannel<int>(1);
  auto [pong_sender, pong_receiver] = MakeChannel<int>(1);
  absl::Status sent = ping_sender.TrySend(1);
  if (sent.ok()) sent = co_await group.Spawn("a", Forward, ping_receiver, pong_sender);
  if (sent.ok()) sent = co_await group.Spawn("b", Forward, pong_receiver, ping_sender);
  if (sent.ok()) sent = co_await group.Spawn("end", EndTheGame, game);
  co_return sent;
}

Async<absl::Status> PlayGame(Context ctx) {
  const CancelScope game(ctx);
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(game.context(), collect, SpawnGame, &game);
  co_return result.status.code() == absl::StatusCode::kCancelled ? absl::OkStatus() : result.status;
}

TEST(SchedulerStressTest, TasksThatWakeEachOtherLeaveRoomForOthers) {
  ThreadExecutor executor(1);
  for (int round = 0; round < 100; ++round) {
    const absl::Status played = executor.Run("root", PlayGame);
    ASSERT_TRUE(played.ok()) << played;
  }
}

// A task that tells on which threads it ran: at first, after it was woken, and on a worker.
struct Threads {
  std::thread::id woken;
  std::thread::id moved;
};

Async<absl::Status> NoteThreads(Context ctx, Receiver<int> from, Sender<int> done,
                                Threads* threads) {
  absl::StatusOr<int> got = co_await from.Receive(ctx);
  threads->woken = std::this_thread::get_id();
  co_await OnWorker();
  threads->moved = std::this_thread::get_id();
  absl::Status told = done.TrySend(0);
  co_return got.ok() ? told : got.status();
}

TEST(GuestWorkerTest, RunsWhatItWakesAndSendsAwayWhatTakesLong) {
  ThreadExecutor executor(1);
  auto [start, started] = MakeChannel<int>(1);
  auto [done, is_done] = MakeChannel<int>(1);
  Threads threads;
  std::thread::id guest_id;
  std::thread guest_thread([&, start = start, is_done = is_done] {
    GuestWorker guest(executor);
    guest_id = std::this_thread::get_id();
    // Until the task waits, a wake-up would find nobody.
    while (executor.Stats().by_reason[static_cast<size_t>(WaitReason::kChannelReceive)] == 0) {
      std::this_thread::yield();
    }
    EXPECT_TRUE(start.TrySend(1).ok());
    guest.RunReady();
    while (!is_done.TryReceive().ok()) std::this_thread::yield();
  });
  const absl::Status ran = executor.Run("root", [&, started = started, done = done](Context ctx) {
    return NoteThreads(std::move(ctx), started, done, &threads);
  });
  guest_thread.join();
  EXPECT_TRUE(ran.ok()) << ran;
  EXPECT_EQ(threads.woken, guest_id);
  EXPECT_NE(threads.moved, guest_id);
}

Async<absl::Status> Count(Context ctx, Receiver<int> from, std::atomic<int>* counted) {
  absl::StatusOr<int> got = co_await from.Receive(ctx);
  counted->fetch_add(1);
  co_return got.ok() ? absl::OkStatus() : got.status();
}

Async<absl::Status> SpawnCounts(Group& group, Receiver<int> from, std::atomic<int>* counted,
                                int count) {
  for (int i = 0; i < count; ++i) {
    absl::Status spawned = co_await group.Spawn("count", Count, from, counted);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> CountAll(Context ctx, Receiver<int> from, std::atomic<int>* counted,
                             int count) {
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), SpawnCounts, std::move(from), counted, count);
  co_return result.status;
}

// A guest that never comes back to its queue leaves what it has woken to the workers, and what it
// leaves behind when it goes.
TEST(GuestWorkerTest, ManyWokenTasksGoToTheWorkers) {
  constexpr int kTasks = 600;
  ThreadExecutor executor(2);
  for (const bool returns : {false, true}) {
    auto [numbers, receiver] = MakeChannel<int>(0);
    std::atomic<int> counted{0};
    std::thread guest_thread([&, numbers = numbers] {
      GuestWorker guest(executor);
      for (int sent = 0; sent < kTasks;) {
        if (numbers.TrySend(1).ok()) {
          ++sent;
        } else {
          std::this_thread::yield();
        }
      }
      if (returns) guest.RunReady();
    });
    const absl::Status ran = executor.Run("root", [&, receiver = receiver](Context ctx) {
      return CountAll(std::move(ctx), receiver, &counted, kTasks);
    });
    guest_thread.join();
    EXPECT_TRUE(ran.ok()) << ran;
    EXPECT_EQ(counted.load(), kTasks);
  }
}

}  // namespace
}  // namespace nursery
