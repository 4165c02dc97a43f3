// The five root causes of goroutine leaks and the five pitfalls that go with them. Each case shows
// that it cannot be written here, or what becomes of it.
//
// The misuse of one primitive is in tests/core/misuse_test.cc: spawn after the join, a scope used
// again, a second close, a send on a closed channel, a timeout that would return before its work.
// Below are assertions on what does not compile; more of it is in refused.cc.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "nursery/core/channel.h"
#include "nursery/core/check.h"
#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/core/timeout.h"
#include "nursery/testing/leak_check.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

GroupOptions Collect() {
  GroupOptions options;
  options.join = Join::Collect();  // no failure cancels the others
  return options;
}

absl::Status Broken() { return Error(absl::StatusCode::kInternal, "broken"); }

// The ways in which a task ends.
Async<absl::Status> Succeed(Context) {
  co_await Yield();
  co_return absl::OkStatus();
}

Async<absl::Status> Fail(Context) {
  co_await Yield();
  co_return Broken();
}

Async<absl::Status> Throw(Context) {
  co_await Yield();
  throw std::runtime_error("thrown");
}

Async<absl::Status> WaitForTheEnd(Context ctx) { co_return co_await UntilCancelled(ctx); }

// Root cause: a sender without a receiver.

Async<absl::Status> SendAnswer(Context ctx, Sender<int> answers) {
  co_return co_await answers.Send(ctx, 42);
}

// Three are asked, and the first answer is enough: nobody will ever take the others.
Async<absl::Status> TakeFirstAnswer(Group& group) {
  auto [sender, receiver] = MakeChannel<int>(0);
  for (int i = 0; i < 3; ++i) {
    absl::Status spawned = co_await group.Spawn("ask", SendAnswer, sender);
    if (!spawned.ok()) co_return spawned;
  }
  absl::StatusOr<int> first = co_await receiver.Receive(group.context());
  EXPECT_EQ(first.value(), 42);
  co_return first.status();
}

SEEDED_TEST(RootCauseTest, ASenderWithoutAReceiverIsToldSo) {
  GroupResult result = co_await WithGroup(ctx, Collect(), TakeFirstAnswer);
  EXPECT_EQ(result.succeeded, 1);
  EXPECT_EQ(result.error_count, 2);
  for (const GroupError& error : result.errors) {
    EXPECT_TRUE(absl::IsFailedPrecondition(error.status)) << error.status;
  }
  co_return absl::OkStatus();
}

// Root cause: a receiver of a channel that is never closed.

Async<absl::Status> Consume(Context ctx, Receiver<int> numbers, int* sum) {
  for (;;) {
    absl::StatusOr<int> number = co_await numbers.Receive(ctx);
    if (absl::IsOutOfRange(number.status())) co_return absl::OkStatus();
    if (!number.ok()) co_return number.status();
    *sum += *number;
  }
}

Async<absl::Status> SendThreeAndForgetToClose(Group& group, int* sum) {
  auto [sender, receiver] = MakeChannel<int>(1);
  for (int i = 0; i < 2; ++i) {
    absl::Status spawned = co_await group.Spawn("consume", Consume, receiver, sum);
    if (!spawned.ok()) co_return spawned;
  }
  for (int number = 1; number <= 3; ++number) {
    absl::Status sent = co_await sender.Send(group.context(), number);
    if (!sent.ok()) co_return sent;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(RootCauseTest, AReceiverOfAChannelThatNobodyClosesEndsWithTheLastSender) {
  int sum = 0;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SendThreeAndForgetToClose, &sum);
  EXPECT_EQ(sum, 6);
  co_return result.status;
}

// Root cause: a context that is not inherited.

template <class T>
concept SleepsWithoutContext = requires(T duration) { Sleep(duration); };
template <class T>
concept OpensAScopeWithoutContext =
    requires(T options) { WithGroup(options, SendThreeAndForgetToClose); };

static_assert(!std::is_default_constructible_v<Context>);
static_assert(!SleepsWithoutContext<Duration>);
static_assert(!OpensAScopeWithoutContext<GroupOptions>);

Async<absl::Status> Descend(Context ctx, int levels);

Async<absl::Status> SpawnTwoBelow(Group& group, int levels) {
  for (int i = 0; i < 2; ++i) {
    absl::Status spawned = co_await group.Spawn("below", Descend, levels);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> Descend(Context ctx, int levels) {
  if (levels == 0) co_return co_await WaitForTheEnd(ctx);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnTwoBelow, levels - 1);
  co_return result.status;
}

SEEDED_TEST(RootCauseTest, ATaskInheritsTheContextOfItsScopeAtAnyDepth) {
  const Time start = ctx.Now();
  absl::Status status = co_await WithTimeout(ctx, seconds(1), "request", Descend, 3);
  EXPECT_EQ(status, Error(absl::StatusCode::kDeadlineExceeded, "deadline of request exceeded"));
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  co_return absl::OkStatus();
}

// Root cause: a counter that does not match, as of a WaitGroup. There is none to get wrong.

template <class T>
concept CountsByHand = requires(T& group) { group.Add(1); } || requires(T& group) { group.Done(); };
template <class T>
concept JoinsByHand = requires(T& group) { group.Wait(); };

static_assert(!CountsByHand<Group> && !JoinsByHand<Group>);
static_assert(!std::is_constructible_v<Group, Context, GroupOptions>);
static_assert(!std::is_copy_constructible_v<Group> && !std::is_move_constructible_v<Group>);

Async<absl::Status> SpawnSibling(Context, Group* group) {
  co_await Yield();
  co_return group->TrySpawn("sibling", Succeed);
}

Async<absl::Status> SpawnEveryKind(Group& group) {
  absl::Status spawned = group.TrySpawn("success", Succeed);
  if (spawned.ok()) spawned = group.TrySpawn("failure", Fail);
  if (spawned.ok()) spawned = group.TrySpawn("exception", Throw);
  if (spawned.ok()) spawned = group.TrySpawn("parent", SpawnSibling, &group);
  co_return spawned;
}

SEEDED_TEST(RootCauseTest, AJoinCountsEveryTaskHoweverItEnds) {
  GroupResult result = co_await WithGroup(ctx, Collect(), SpawnEveryKind);
  EXPECT_EQ(result.succeeded, 3) << "success, parent, sibling";
  EXPECT_EQ(result.error_count, 2) << "failure, exception";
  EXPECT_EQ(executor.Stats().live, 1) << "this test";
  co_return absl::OkStatus();
}

// Root cause: a resource that is never closed.

class Connection {
 public:
  Connection() { NURSERY_CHECK(pipe2(fds_, O_CLOEXEC | O_NONBLOCK) == 0); }
  ~Connection() {
    close(fds_[0]);
    close(fds_[1]);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  int fd() const { return fds_[0]; }

 private:
  int fds_[2];
};

Async<absl::Status> ReadForEver(Context ctx, std::unique_ptr<Connection> connection) {
  co_return co_await ReadReady(ctx, connection->fd());
}

Async<absl::Status> FailBesideReaders(Group& group) {
  for (int i = 0; i < 2; ++i) {
    auto connection = std::make_unique<Connection>();
    absl::Status spawned = co_await group.Spawn("reader", ReadForEver, std::move(connection));
    if (!spawned.ok()) co_return spawned;
  }
  absl::Status spawned = co_await group.Spawn("failure", Fail);
  co_return spawned;
}

// That LeakCheck, which every test binary ends with, does find some: LeakCheckTest in dump_test.cc.
SEEDED_TEST(RootCauseTest, AResourceIsClosedWhenItsTaskHasEnded) {
  // The executor opens what it polls with when it is first needed.
  GroupResult warm_up = co_await WithGroup(ctx, GroupOptions(), FailBesideReaders);
  EXPECT_EQ(warm_up.status, Broken());
  LeakCheck check;
  check.SetUp();
  const size_t before = check.FindLeaks().size();  // this very task
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), FailBesideReaders);
  EXPECT_EQ(result.status, Broken());
  EXPECT_EQ(check.FindLeaks().size(), before);
  co_return absl::OkStatus();
}

// Pitfall: a swallowed error. Whatever gives one is [[nodiscard]] (refused.cc), and what nobody
// looks at is the scope's result.

Async<absl::Status> FailInCleanUp(Context ctx) {
  absl::Status told = co_await UntilCancelled(ctx);
  co_return Error(absl::StatusCode::kDataLoss, "clean-up failed after: " + told.ToString());
}

Async<absl::Status> LookAtNoError(Group& group) {
  absl::Status spawned = co_await group.Spawn("failure in clean-up", FailInCleanUp);
  if (spawned.ok()) spawned = group.TrySpawn("failure", Fail);
  co_return spawned;
}

SEEDED_TEST(PitfallTest, AnErrorThatNobodyLooksAtIsTheResultOfTheScope) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), LookAtNoError);
  EXPECT_EQ(result.status, Broken());
  EXPECT_EQ(result.error_count, 2) << "that of the clean-up is not lost either";
  EXPECT_TRUE(absl::IsDataLoss(result.errors.back().status)) << result.errors.back().status;
  co_return absl::OkStatus();
}

// Pitfall: a context that is not propagated. tests/tidy refuses Context::Background inside of a
// library; what is derived from the caller's context keeps its deadline and its values.

const ContextKey<std::string> kRequest;

Async<absl::Status> CallWithItsOwnTimeout(Context ctx) {
  EXPECT_EQ(*ctx.Value(kRequest), "request 7");
  co_return co_await WithTimeout(ctx, seconds(3600), "call", WaitForTheEnd);
}

Async<absl::Status> SpawnCall(Group& group) {
  absl::Status spawned = co_await group.Spawn("call", CallWithItsOwnTimeout);
  co_return spawned;
}

Async<absl::Status> Handle(Context ctx) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnCall);
  co_return result.status;
}

SEEDED_TEST(PitfallTest, AnInnerTimeoutDoesNotOutlastTheDeadlineOfTheCaller) {
  const Context request = ctx.With(kRequest, std::string("request 7"));
  absl::Status status = co_await WithTimeout(request, seconds(1), "request", Handle);
  EXPECT_EQ(status, Error(absl::StatusCode::kDeadlineExceeded, "deadline of request exceeded"));
  co_return absl::OkStatus();
}

// Pitfall: the variable of a loop, captured. Arguments are moved into the task, so that a function
// that wants to refer to the caller's variable does not fit; tests/tidy refuses coroutine lambdas
// with captures.

using TakesReference = Async<absl::Status> (*)(Context, int&);
static_assert(!std::is_invocable_v<TakesReference, Context, int>);

Async<absl::Status> CountTurn(Context, int turn, std::vector<int>* turns) {
  co_await Yield();
  ++turns->at(static_cast<size_t>(turn));
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnInALoop(Group& group, std::vector<int>* turns) {
  for (int turn = 0; turn < 5; ++turn) {
    absl::Status spawned = co_await group.Spawn("turn", CountTurn, turn, turns);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(PitfallTest, EveryTurnOfALoopHasItsOwnValue) {
  std::vector<int> turns(5);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnInALoop, &turns);
  EXPECT_EQ(turns, std::vector<int>(5, 1));
  co_return result.status;
}

// Pitfall: a channel that is not closed, here because its only producer fails half-way.

Async<absl::Status> ProduceHalf(Context ctx, Sender<int> numbers) {
  for (int number = 1; number <= 3; ++number) {
    absl::Status sent = co_await numbers.Send(ctx, number);
    if (!sent.ok()) co_return sent;
  }
  co_return Broken();
}

Async<absl::Status> SpawnProducerAndConsumer(Group& group, int* sum) {
  auto [sender, receiver] = MakeChannel<int>(0);
  absl::Status spawned = co_await group.Spawn("produce", ProduceHalf, std::move(sender));
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("consume", Consume, std::move(receiver), sum);
  co_return spawned;
}

SEEDED_TEST(PitfallTest, AProducerThatFailsClosesItsChannel) {
  int sum = 0;
  GroupResult result = co_await WithGroup(ctx, Collect(), SpawnProducerAndConsumer, &sum);
  EXPECT_EQ(result.status, Broken());
  EXPECT_EQ(result.succeeded, 1) << "the consumer came to the end of what was sent";
  EXPECT_EQ(sum, 6);
  co_return absl::OkStatus();
}

// Pitfall: a permit taken outside of the scope of its task. SpawnWith moves it into the task.

static_assert(!std::is_copy_constructible_v<Permit> && !std::is_copy_assignable_v<Permit>);

Async<absl::Status> SpawnWithPermits(Group& group, Semaphore* semaphore) {
  using Function = Async<absl::Status> (*)(Context);
  // The last one is refused: by then the failure has cancelled the group, or it never starts.
  for (Function function : {&WaitForTheEnd, &Succeed, &Throw, &Fail, &Succeed}) {
    absl::StatusOr<Permit> permit = co_await semaphore->Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    absl::Status spawned = co_await group.SpawnWith(*std::move(permit), "task", function);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(PitfallTest, APermitGoesBackWithItsTaskHoweverThatEnds) {
  Semaphore semaphore(3);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnWithPermits, &semaphore);
  EXPECT_TRUE(absl::IsInternal(result.status)) << result.status;
  EXPECT_EQ(semaphore.Stats().held, 0);
  EXPECT_EQ(semaphore.Stats().waiters, 0);
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery
