#include "nursery/core/channel.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Async<absl::Status> SendRange(Context ctx, Sender<int> sender, int from, int to) {
  for (int i = from; i < to; ++i) {
    absl::Status sent = co_await sender.Send(ctx, i);
    if (!sent.ok()) co_return sent;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> ReceiveAll(Context ctx, Receiver<int> receiver, std::vector<int>* got) {
  for (;;) {
    absl::StatusOr<int> value = co_await receiver.Receive(ctx);
    if (absl::IsOutOfRange(value.status())) co_return absl::OkStatus();
    if (!value.ok()) co_return value.status();
    got->push_back(*value);
  }
}

Async<absl::Status> ManyToMany(Group& group, size_t capacity, std::vector<int>* got) {
  auto [sender, receiver] = MakeChannel<int>(capacity);
  for (int i = 0; i < 3; ++i) {
    absl::Status spawned = co_await group.Spawn("send", SendRange, sender, i * 10, i * 10 + 10);
    if (!spawned.ok()) co_return spawned;
  }
  for (int i = 0; i < 2; ++i) {
    absl::Status spawned = co_await group.Spawn("receive", ReceiveAll, receiver, got);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, EveryValueArrivesOnceAtAnyCapacity) {
  for (size_t capacity : {0, 1, 4, 100}) {
    std::vector<int> got;
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), ManyToMany, capacity, &got);
    if (!result.status.ok()) co_return result.status;
    std::sort(got.begin(), got.end());
    std::vector<int> all(30);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(got, all);
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, OneSenderAndOneReceiverKeepTheOrder) {
  for (size_t capacity : {0, 3}) {
    std::vector<int> got;
    auto body = [](Group& group, size_t size, std::vector<int>* of) -> Async<absl::Status> {
      auto [sender, receiver] = MakeChannel<int>(size);
      absl::Status one = co_await group.Spawn("send", SendRange, sender, 0, 20);
      absl::Status two = co_await group.Spawn("receive", ReceiveAll, receiver, of);
      co_return one.ok() ? two : one;
    };
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, capacity, &got);
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
    EXPECT_EQ(got.size(), 20u);
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, BufferedValuesOutliveTheirSenders) {
  auto [sender, receiver] = MakeChannel<int>(2);
  EXPECT_TRUE(sender.TrySend(1).ok());
  EXPECT_TRUE(sender.TrySend(2).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(sender.TrySend(3)));
  EXPECT_EQ(sender.Stats().length, 2);
  EXPECT_TRUE(sender.Close().ok());
  absl::StatusOr<int> one = co_await receiver.Receive(ctx);
  absl::StatusOr<int> two = receiver.TryReceive();
  absl::StatusOr<int> end = co_await receiver.Receive(ctx);
  EXPECT_EQ(*one, 1);
  EXPECT_EQ(*two, 2);
  EXPECT_TRUE(absl::IsOutOfRange(end.status()));
  EXPECT_TRUE(absl::IsOutOfRange(receiver.TryReceive().status()));
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, ReceiverIsToldWhenTheLastSenderGoes) {
  auto hold = [](Context child, Sender<int> sender) -> Async<absl::Status> {
    absl::Status slept = co_await Sleep(child, seconds(1));
    absl::Status sent = sender.TrySend(1);  // nobody has to take it
    co_return slept.ok() ? sent : slept;
  };
  std::vector<int> got;
  auto body = [](Group& group, decltype(hold) run, std::vector<int>* of) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(5);
    for (int i = 0; i < 3; ++i) {
      absl::Status spawned = co_await group.Spawn("hold", run, sender);
      if (!spawned.ok()) co_return spawned;
    }
    absl::Status closed = sender.Close();
    absl::Status received = co_await ReceiveAll(group.context(), std::move(receiver), of);
    co_return closed.ok() ? received : closed;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, hold, &got);
  EXPECT_EQ(got.size(), 3u);
  co_return result.status;
}

SEEDED_TEST(ChannelTest, SenderIsToldWhenTheLastReceiverGoes) {
  auto hold = [](Context child, Receiver<int>) -> Async<absl::Status> {
    absl::Status slept = co_await Sleep(child, seconds(1));
    co_return slept;
  };
  auto body = [](Group& group, decltype(hold) run) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::Status spawned = co_await group.Spawn("hold", run, std::move(receiver));
    if (!spawned.ok()) co_return spawned;
    absl::Status sent = co_await sender.Send(group.context(), 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(sent)) << sent;
    EXPECT_TRUE(absl::IsFailedPrecondition(sender.TrySend(2)));
    co_return absl::OkStatus();
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, hold);
  co_return result.status;
}

SEEDED_TEST(ChannelTest, ClosingTwiceAndSendingAfterwardsAreNamedErrors) {
  auto [sender, receiver] = MakeChannel<int>(1);
  EXPECT_TRUE(sender.Close().ok());
  EXPECT_EQ(sender.Close(),
            Error(absl::StatusCode::kFailedPrecondition, "this sender has closed already"));
  EXPECT_TRUE(absl::IsFailedPrecondition(sender.TrySend(1)));
  absl::Status sent = co_await sender.Send(ctx, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(sent));
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, CancelledWaitsReturnTheCauseAndMoveNothing) {
  auto [sender, receiver] = MakeChannel<int>(1);
  {
    CancelScope scope(ctx, ctx.Now() + seconds(1), "patience");
    absl::StatusOr<int> got = co_await receiver.Receive(scope.context());
    EXPECT_TRUE(absl::IsDeadlineExceeded(got.status()));
  }
  EXPECT_TRUE(sender.TrySend(1).ok());
  {
    CancelScope scope(ctx, ctx.Now() + seconds(1), "patience");
    absl::Status sent = co_await sender.Send(scope.context(), 2);
    EXPECT_TRUE(absl::IsDeadlineExceeded(sent));
  }
  absl::StatusOr<int> one = receiver.TryReceive();
  EXPECT_EQ(*one, 1);
  EXPECT_TRUE(absl::IsUnavailable(receiver.TryReceive().status()));
  co_return absl::OkStatus();
}

// A cancellation may end the receivers before a sender hears of it.
SEEDED_TEST(ChannelTest, ASendWhoseReceiversACancellationHasEndedReturnsItsCause) {
  auto send = [](Context child, Sender<int> out) -> Async<absl::Status> {
    co_return co_await out.Send(child, 1);
  };
  auto body = [](Group& group, decltype(send) run,
                 const CancelScope* scope) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::Status spawned = group.TrySpawn("send", run, std::move(sender));
    absl::Status slept = co_await Sleep(group.context(), seconds(1));
    // The sender is woken by the end of the last receiver; until it runs, the scope is cancelled.
    {
      const Receiver<int> last = std::move(receiver);
    }
    scope->Cancel("enough");
    co_return spawned.ok() ? slept : spawned;
  };
  const CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), body, send, &scope);
  EXPECT_EQ(result.status, Error(absl::StatusCode::kCancelled, "enough"));
  co_return absl::OkStatus();
}

SEEDED_TEST(ChannelTest, CarriesWhatCanOnlyBeMoved) {
  auto [sender, receiver] = MakeChannel<std::unique_ptr<int>>(1);
  auto seven = std::make_unique<int>(7);
  absl::Status sent = co_await sender.Send(ctx, std::move(seven));
  absl::StatusOr<std::unique_ptr<int>> got = co_await receiver.Receive(ctx);
  EXPECT_EQ(**got, 7);
  co_return sent;
}

SEEDED_TEST(ChannelTest, SelectTakesTheCaseThatIsReady) {
  auto [numbers, number_receiver] = MakeChannel<int>(1);
  auto [words, word_receiver] = MakeChannel<std::string>(1);
  EXPECT_TRUE(words.TrySend("hello").ok());
  ReceiveCase<int> number(number_receiver);
  ReceiveCase<std::string> word(word_receiver);
  absl::StatusOr<size_t> ready = co_await Select(ctx, number, word);
  EXPECT_EQ(*ready, 1u);
  EXPECT_EQ(*word.Take(), "hello");
  // Sending is a case too; the case that was not selected keeps its value.
  EXPECT_TRUE(numbers.TrySend(1).ok());
  SendCase<int> full(numbers, 2);
  SendCase<std::string> space(words, "again");
  ready = co_await Select(ctx, full, space);
  EXPECT_EQ(*ready, 1u);
  EXPECT_TRUE(space.status().ok());
  EXPECT_EQ(full.Take(), 2);
  CancelScope scope(ctx, ctx.Now() + seconds(1), "patience");
  SendCase<int> still_full(numbers, 3);
  SendCase<std::string> full_too(words, "more");
  ready = co_await Select(scope.context(), still_full, full_too);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ready.status()));
  co_return absl::OkStatus();
}

// As in Go: a rendezvous needs another task.
SEEDED_TEST(ChannelTest, SelectIsNoPartnerOfItself) {
  auto [sender, receiver] = MakeChannel<int>(0);
  ReceiveCase<int> in(receiver);
  SendCase<int> out(sender, 7);
  const CancelScope scope(ctx, ctx.Now() + std::chrono::seconds(1), "patience");
  absl::StatusOr<size_t> ready = co_await Select(scope.context(), in, out);
  EXPECT_EQ(ready.status().code(), absl::StatusCode::kDeadlineExceeded);
  ReceiveCase<int> again(receiver);
  SendCase<int> more(sender, 8);
  auto taker = [](Context child, Receiver<int> from, int* got) -> Async<absl::Status> {
    absl::StatusOr<int> value = co_await from.Receive(child);
    if (value.ok()) *got = *value;
    co_return value.status();
  };
  auto body = [](Group& group, decltype(taker) take, Receiver<int> from, ReceiveCase<int>* in_case,
                 SendCase<int>* out_case, int* got) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("taker", take, std::move(from), got);
    absl::StatusOr<size_t> chosen = co_await Select(group.context(), *in_case, *out_case);
    EXPECT_EQ(*chosen, 1u);
    co_return spawned;
  };
  int got = 0;
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), body, taker, receiver, &again, &more, &got);
  EXPECT_EQ(got, 8);
  co_return result.status;
}

SEEDED_TEST(ChannelTest, SelectSeesAClosedChannel) {
  auto [numbers, receiver] = MakeChannel<int>(1);
  auto [words, word_receiver] = MakeChannel<std::string>(1);
  EXPECT_TRUE(numbers.Close().ok());
  ReceiveCase<std::string> word(word_receiver);
  ReceiveCase<int> number(receiver);
  absl::StatusOr<size_t> ready = co_await Select(ctx, word, number);
  EXPECT_EQ(*ready, 1u);
  EXPECT_TRUE(absl::IsOutOfRange(number.Take().status()));
  co_return absl::OkStatus();
}

Async<absl::Status> MergeTwo(Context ctx, Receiver<int> left, Receiver<int> right,
                             std::vector<int>* got) {
  int open = 2;
  bool closed[2] = {false, false};
  while (open > 0) {
    ReceiveCase<int> one(closed[0] ? right : left);
    ReceiveCase<int> two(closed[1] ? left : right);
    absl::StatusOr<size_t> ready = co_await Select(ctx, one, two);
    if (!ready.ok()) co_return ready.status();
    absl::StatusOr<int> value = *ready == 0 ? one.Take() : two.Take();
    if (value.ok()) {
      got->push_back(*value);
    } else {
      const bool was_left = (*ready == 0) != closed[0];
      closed[was_left ? 0 : 1] = true;
      --open;
    }
  }
  co_return absl::OkStatus();
}

// Senders and selecting receivers, some of which give up: nothing is lost and nothing is doubled.
Async<absl::Status> SelectBody(Group& group, std::vector<int>* got) {
  auto [one, one_receiver] = MakeChannel<int>(0);
  auto [two, two_receiver] = MakeChannel<int>(1);
  absl::Status spawned = co_await group.Spawn("one", SendRange, std::move(one), 0, 10);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("two", SendRange, std::move(two), 10, 20);
  if (!spawned.ok()) co_return spawned;
  co_return co_await MergeTwo(group.context(), one_receiver, two_receiver, got);
}

SEEDED_TEST(ChannelTest, SelectLosesAndDoublesNothing) {
  std::vector<int> got;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SelectBody, &got);
  std::sort(got.begin(), got.end());
  std::vector<int> all(20);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(got, all);
  co_return result.status;
}

// Receivers with little patience against a rendezvous: what a receiver did not get, another one
// does.
SEEDED_TEST(ChannelTest, ValuesSurviveReceiversThatGiveUp) {
  executor.BeSlow();
  auto impatient = [](Context child, Receiver<int> receiver, std::vector<int>* got,
                      SeededExecutor* random) -> Async<absl::Status> {
    for (;;) {
      const Duration patience = milliseconds(random->Random(3));
      CancelScope scope(child, Later(child.Now(), patience), "patience");
      absl::StatusOr<int> value = co_await receiver.Receive(scope.context());
      if (value.ok()) got->push_back(*value);
      if (absl::IsOutOfRange(value.status())) co_return absl::OkStatus();
      absl::Status paused = co_await Sleep(child, milliseconds(random->Random(2)));
      if (!paused.ok()) co_return paused;
    }
  };
  auto body = [](Group& group, decltype(impatient) run, std::vector<int>* got,
                 SeededExecutor* random) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    for (int i = 0; i < 3; ++i) {
      absl::Status spawned = co_await group.Spawn("impatient", run, receiver, got, random);
      if (!spawned.ok()) co_return spawned;
    }
    absl::Status spawned = co_await group.Spawn("send", SendRange, std::move(sender), 0, 15);
    co_return spawned;
  };
  std::vector<int> got;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, impatient, &got, &executor);
  std::sort(got.begin(), got.end());
  std::vector<int> all(15);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(got, all);
  co_return result.status;
}

TEST(ChannelStressTest, ManyToManyOnThreads) {
  ThreadExecutor executor(2);
  absl::Status status = executor.Run("stress", [](Context ctx) -> Async<absl::Status> {
    auto body = [](Group& group, std::vector<int>* got, Mutex* mutex) -> Async<absl::Status> {
      auto collect = [](Context child, Receiver<int> receiver, std::vector<int>* of,
                        Mutex* guard) -> Async<absl::Status> {
        std::vector<int> mine;
        absl::Status received = co_await ReceiveAll(child, std::move(receiver), &mine);
        MutexLock lock(*guard);
        of->insert(of->end(), mine.begin(), mine.end());
        co_return received;
      };
      auto [sender, receiver] = MakeChannel<int>(3);
      for (int i = 0; i < 4; ++i) {
        absl::Status spawned =
            co_await group.Spawn("send", SendRange, sender, i * 1000, i * 1000 + 1000);
        if (!spawned.ok()) co_return spawned;
        spawned = co_await group.Spawn("receive", collect, receiver, got, mutex);
        if (!spawned.ok()) co_return spawned;
      }
      co_return absl::OkStatus();
    };
    std::vector<int> got;
    Mutex mutex;
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &got, &mutex);
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got.size(), 4000u);
    EXPECT_TRUE(std::unique(got.begin(), got.end()) == got.end());
    co_return result.status;
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Whether it goes on, on the thread of its executor, when the last sender goes.
Async<absl::Status> WaitForClose(Context ctx, Receiver<int> receiver, bool* stayed) {
  const pid_t before = gettid();
  absl::StatusOr<int> got = co_await receiver.Receive(ctx);
  *stayed = gettid() == before;
  co_return absl::IsOutOfRange(got.status()) ? absl::OkStatus() : got.status();
}

struct TwoExecutors {
  ThreadExecutor one{1};
  ThreadExecutor other{1};
  bool stayed[2] = {};

  bool BothWait() const {
    constexpr auto kReceives = static_cast<size_t>(WaitReason::kChannelReceive);
    return one.Stats().by_reason[kReceives] == 1 && other.Stats().by_reason[kReceives] == 1;
  }
};

Async<absl::Status> CloseWhenBothWait(Group& group, TwoExecutors* executors) {
  auto [sender, receiver] = MakeChannel<int>(0);
  absl::Status here = co_await group.Spawn("here", WaitForClose, receiver, &executors->stayed[0]);
  auto run_there = [executors, receiver = receiver] {
    return executors->other.Run("there", [=](Context ctx) {
      return WaitForClose(std::move(ctx), receiver, &executors->stayed[1]);
    });
  };
  auto wait_there = [](Context ctx, auto run) -> Async<absl::Status> {
    co_return co_await RunBlocking(ctx, std::move(run));
  };
  absl::Status there = co_await group.Spawn("there", wait_there, std::move(run_there));
  for (const absl::Status& status : {here, there}) {
    if (!status.ok()) co_return status;
  }
  while (!executors->BothWait()) co_await Yield();
  co_return sender.Close();
}

Async<absl::Status> UseBoth(Context ctx, TwoExecutors* executors) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), CloseWhenBothWait, executors);
  co_return result.status;
}

TEST(ChannelTest, TasksOfTwoExecutorsGoOnEachOnItsOwn) {
  TwoExecutors executors;
  absl::Status status = executors.one.Run(
      "main", [&executors](Context ctx) { return UseBoth(std::move(ctx), &executors); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(executors.stayed[0]);
  EXPECT_TRUE(executors.stayed[1]);
}

}  // namespace
}  // namespace nursery
