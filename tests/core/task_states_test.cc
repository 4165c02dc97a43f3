// Each state and each reason of waiting, as counts and dumps tell them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <string>

#include "nursery/core/blocking.h"
#include "nursery/core/channel.h"
#include "nursery/core/dump.h"
#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/testing/seeds.h"
#include "tests/core/timer_descriptor.h"

namespace nursery {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

// What nobody ever gives.
struct Never {
  Never()
      : channel(MakeChannel<int>(0)), other(MakeChannel<int>(0)), permit(permits.TryAcquire()) {}

  std::pair<Sender<int>, Receiver<int>> channel;
  std::pair<Sender<int>, Receiver<int>> other;
  Semaphore permits{1};
  std::optional<Permit> permit;
  TimerDescriptor descriptor{hours(1)};
};

Async<absl::Status> Send(Context ctx, Never* never) {
  co_return co_await never->channel.first.Send(ctx, 1);
}

Async<absl::Status> Receive(Context ctx, Never* never) {
  absl::StatusOr<int> received = co_await never->other.second.Receive(ctx);
  co_return received.status();
}

Async<absl::Status> SelectOne(Context ctx, Never*) {
  auto [sender, receiver] = MakeChannel<int>(1);
  ReceiveCase<int> first(receiver);
  absl::StatusOr<size_t> ready = co_await Select(ctx, first);
  co_return ready.status();
}

Async<absl::Status> Acquire(Context ctx, Never* never) {
  absl::StatusOr<Permit> permit = co_await never->permits.Acquire(ctx);
  co_return permit.status();
}

Async<absl::Status> SleepDay(Context ctx, Never*) { co_return co_await Sleep(ctx, hours(24)); }

Async<absl::Status> Listen(Context ctx, Never*) { co_return co_await UntilCancelled(ctx); }

Async<absl::Status> SpawnOne(Group& group, Never* never) {
  co_return co_await group.Spawn("inner", Listen, never);
}

Async<absl::Status> JoinOne(Context ctx, Never* never) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnOne, never);
  co_return result.status;
}

Async<absl::Status> SpawnTwo(Group& group, Never* never) {
  absl::Status first = co_await group.Spawn("inner", Listen, never);
  absl::Status second = co_await group.Spawn("inner", Listen, never);
  co_return first.ok() ? second : first;
}

Async<absl::Status> WaitForPlace(Context ctx, Never* never) {
  GroupOptions options;
  options.limit = 1;
  GroupResult result = co_await WithGroup(ctx, options, SpawnTwo, never);
  co_return result.status;
}

using Wait = Async<absl::Status> (*)(Context, Never*);

// Whoever waits for nothing that comes, by the reason.
const std::map<WaitReason, Wait>& Waits() {
  static const auto& waits = *new std::map<WaitReason, Wait>{
      {WaitReason::kChannelSend, Send},  {WaitReason::kChannelReceive, Receive},
      {WaitReason::kSelect, SelectOne},  {WaitReason::kSemaphore, Acquire},
      {WaitReason::kTimer, SleepDay},    {WaitReason::kContextDone, Listen},
      {WaitReason::kGroupJoin, JoinOne}, {WaitReason::kGroupLimit, WaitForPlace},
  };
  return waits;
}

Async<absl::Status> LookAtEach(Group& group, Never* never, const CancelScope* scope) {
  for (const auto& [reason, wait] : Waits()) {
    absl::Status spawned = co_await group.Spawn(std::string(Name(reason)), wait, never);
    if (!spawned.ok()) co_return spawned;
  }
  absl::Status slept = co_await Sleep(group.context(), hours(1));
  const Executor& executor = group.context().executor();
  const TaskStats stats = executor.Stats();
  const std::string dump = executor.Dump();
  int64_t inner = 0;
  for (const auto& [reason, wait] : Waits()) {
    const auto index = static_cast<size_t>(reason);
    // Those who are spawned by others wait for their context.
    inner += reason == WaitReason::kGroupJoin || reason == WaitReason::kGroupLimit ? 1 : 0;
    if (reason != WaitReason::kContextDone) {
      EXPECT_EQ(stats.by_reason[index], 1) << Name(reason);
    }
    EXPECT_EQ(stats.oldest[index], hours(1)) << Name(reason);
    const std::string name(Name(reason));
    EXPECT_THAT(dump, HasSubstr("[" + name + ", 1h 0m]")) << name;
  }
  EXPECT_EQ(stats.by_reason[static_cast<size_t>(WaitReason::kContextDone)], 1 + inner);
  EXPECT_EQ(stats.by_state[static_cast<size_t>(TaskState::kWaiting)],
            static_cast<int64_t>(Waits().size()) + inner);
  EXPECT_EQ(stats.by_state[static_cast<size_t>(TaskState::kRunning)], 1);
  scope->Cancel("seen");
  co_return slept;
}

SEEDED_TEST(TaskStatesTest, EachReasonIsCountedAndDumpedWithTheLongestWait) {
  Never never;
  CancelScope scope(ctx);
  GroupResult result =
      co_await WithGroup(scope.context(), GroupOptions(), LookAtEach, &never, &scope);
  EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  co_return absl::OkStatus();
}

Async<absl::Status> Block(Context ctx, std::atomic<bool>* go_on) {
  auto wait = [go_on] {
    go_on->wait(false);
    return absl::OkStatus();
  };
  co_return co_await RunBlocking(ctx, wait);
}

Async<absl::Status> WaitForDescriptor(Context ctx, Never* never) {
  co_return co_await ReadReady(ctx, never->descriptor.fd());
}

Async<absl::Status> LookAtThreads(Group& group, Never* never, std::atomic<bool>* go_on,
                                  const CancelScope* scope) {
  absl::Status blocking = co_await group.Spawn("block", Block, go_on);
  absl::Status waiting = co_await group.Spawn("read", WaitForDescriptor, never);
  const Executor& executor = group.context().executor();
  const auto count = [&](WaitReason reason) {
    return executor.Stats().by_reason[static_cast<size_t>(reason)];
  };
  while (count(WaitReason::kBlocking) == 0 || count(WaitReason::kIo) == 0) co_await Yield();
  EXPECT_EQ(executor.Stats().by_state[static_cast<size_t>(TaskState::kBlocking)], 1);
  EXPECT_THAT(executor.Dump(), HasSubstr("[blocking"));
  go_on->store(true);
  go_on->notify_all();
  scope->Cancel("seen");
  co_return blocking.ok() ? waiting : blocking;
}

TEST(TaskStatesTest, BlockingCallsAndDescriptorsAreSeenOnThreads) {
  ThreadExecutor executor(2);
  absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
    Never never;
    std::atomic<bool> go_on = false;
    CancelScope scope(ctx);
    GroupResult result =
        co_await WithGroup(scope.context(), GroupOptions(), LookAtThreads, &never, &go_on, &scope);
    EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
