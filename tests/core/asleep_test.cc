#include "nursery/core/internal/asleep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/channel.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/mutex.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "tests/core/timer_descriptor.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

// The runtime of this sanitizer has a thread of its own, of which nobody knows what it does.
#ifdef NURSERY_TSAN
constexpr bool kForeignThread = true;
#else
constexpr bool kForeignThread = false;
#endif

// What was told, and the scope that is cancelled for it.
struct Told {
  std::atomic<const CancelScope*> scope{nullptr};
  std::vector<std::string> reports;  // of the reactor, until Run returns
};

ThreadExecutorOptions TellingTo(Told* told) {
  ThreadExecutorOptions options;
  options.workers = 2;
  options.on_asleep = [told](const std::string& report) {
    told->reports.push_back(report);
    if (const CancelScope* scope = told->scope.exchange(nullptr)) scope->Cancel("asleep");
  };
  return options;
}

Async<absl::Status> Receive(Context ctx, Receiver<int> receiver, Sender<int>) {
  absl::StatusOr<int> got = co_await receiver.Receive(ctx);
  co_return got.status();
}

// Two tasks each wait for what only the other could send.
Async<absl::Status> Starve(Group& group) {
  auto [one_sender, one] = MakeChannel<int>(0);
  auto [two_sender, two] = MakeChannel<int>(0);
  absl::Status left = co_await group.Spawn("left", Receive, one, two_sender);
  absl::Status right = co_await group.Spawn("right", Receive, two, one_sender);
  co_return left.ok() ? right : left;
}

Async<absl::Status> StarveUntilTold(Context ctx, Told* told) {
  const CancelScope scope(ctx);
  told->scope.store(&scope);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), Starve);
  co_return result.status;
}

TEST(AsleepTest, SaysSoEachTimeWithTheDumpWhenAllTasksWaitForEachOther) {
  if (kForeignThread) GTEST_SKIP() << "a thread of the sanitizer could wake a task";
  Told told;
  ThreadExecutor executor(TellingTo(&told));
  for (size_t times = 1; times <= 3; ++times) {
    absl::Status status =
        executor.Run("root", [&](Context ctx) { return StarveUntilTold(std::move(ctx), &told); });
    EXPECT_EQ(Message(status), "asleep");
    ASSERT_THAT(told.reports, SizeIs(times));
    const std::string& report = told.reports.back();
    EXPECT_THAT(report, StartsWith("all tasks are asleep; nothing wakes\n2 tasks in 2 groups\n"));
    EXPECT_THAT(report, ContainsRegex("task [0-9]+ .channel receive, .*. left"));
    EXPECT_THAT(report, HasSubstr("wait cycle of 2 tasks:\n"));
  }
}

TEST(AsleepTest, ExecutorsThatAllSleepAreToldOnlyTogether) {
  if (kForeignThread) GTEST_SKIP() << "a thread of the sanitizer could wake a task";
  Told told;
  ThreadExecutor executor(TellingTo(&told));
  Told unused;
  ThreadExecutor other(TellingTo(&unused));
  absl::Status status =
      executor.Run("root", [&](Context ctx) { return StarveUntilTold(std::move(ctx), &told); });
  EXPECT_EQ(Message(status), "asleep");
  EXPECT_THAT(told.reports, SizeIs(1));
  EXPECT_THAT(unused.reports, IsEmpty());
}

// Waits for what `wake` sends after some time.
template <class Wake>
Async<absl::Status> WaitFor(Context ctx, Wake wake) {
  auto body = [](Group& group, Wake function) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::Status spawned = co_await group.Spawn("waker", function, std::move(sender));
    absl::StatusOr<int> got = co_await receiver.Receive(group.context());
    co_return spawned.ok() ? got.status() : spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, wake);
  co_return result.status;
}

template <class Wake>
void ExpectNotTold(Wake wake) {
  Told told;
  ThreadExecutor executor(TellingTo(&told));
  absl::Status status =
      executor.Run("root", [wake](Context ctx) { return WaitFor(std::move(ctx), wake); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(told.reports, IsEmpty());
}

TEST(AsleepTest, SaysNothingWhileATimerIsArmed) {
  ExpectNotTold([](Context ctx, Sender<int> sender) -> Async<absl::Status> {
    absl::Status slept = co_await Sleep(ctx, milliseconds(20));
    if (!slept.ok()) co_return slept;
    co_return co_await sender.Send(ctx, 1);
  });
}

TEST(AsleepTest, SaysNothingWhileADescriptorIsWaitedFor) {
  ExpectNotTold([](Context ctx, Sender<int> sender) -> Async<absl::Status> {
    const TimerDescriptor soon(milliseconds(20));
    absl::Status ready = co_await ReadReady(ctx, soon.fd());
    if (!ready.ok()) co_return ready;
    co_return co_await sender.Send(ctx, 1);
  });
}

TEST(AsleepTest, SaysNothingWhileACallBlocks) {
  ExpectNotTold([](Context ctx, Sender<int> sender) -> Async<absl::Status> {
    auto block = []() -> absl::Status {
      TimerDescriptor(milliseconds(20)).Read();
      return absl::OkStatus();
    };
    absl::Status blocked = co_await RunBlocking(ctx, block);
    if (!blocked.ok()) co_return blocked;
    co_return co_await sender.Send(ctx, 1);
  });
}

TEST(AsleepTest, SaysNothingWhileAGuestMayWake) {
  Told told;
  ThreadExecutor executor(TellingTo(&told));
  auto [sender, receiver] = MakeChannel<int>(0);
  std::thread root([&executor, in = std::move(receiver)]() mutable {
    absl::Status status = executor.Run("root", [&](Context ctx) -> Async<absl::Status> {
      return Receive(std::move(ctx), std::move(in), MakeChannel<int>(0).first);
    });
    EXPECT_TRUE(status.ok()) << status;
  });
  GuestWorker guest(executor);
  const TimerDescriptor soon(milliseconds(20));
  soon.Read();
  while (!sender.TrySend(1).ok()) sched_yield();
  guest.RunReady();
  root.join();
  EXPECT_THAT(told.reports, IsEmpty());
}

TEST(AsleepTest, SaysNothingWhileAnotherThreadMayWake) {
  Told told;
  ThreadExecutor executor(TellingTo(&told));
  for (int i = 0; i < 100; ++i) {
    auto [sender, receiver] = MakeChannel<int>(0);
    std::thread waker([&executor, out = std::move(sender)] {
      constexpr auto kReceive = static_cast<size_t>(WaitReason::kChannelReceive);
      while (executor.Stats().by_reason[kReceive] == 0) sched_yield();
      while (!out.TrySend(1).ok()) sched_yield();
    });
    absl::Status status = executor.Run("root", [&](Context ctx) -> Async<absl::Status> {
      return Receive(std::move(ctx), std::move(receiver), MakeChannel<int>(0).first);
    });
    EXPECT_TRUE(status.ok()) << status;
    waker.join();
  }
  EXPECT_THAT(told.reports, IsEmpty());
}

}  // namespace
}  // namespace nursery
