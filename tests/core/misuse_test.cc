// What a program can do wrong with a scope, a channel or a permit, and the Status that it gets:
// rows of the table of errors in core/README.md. None of them crashes or hangs.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/spawner.h"
#include "nursery/core/status.h"
#include "nursery/core/timeout.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

Async<absl::Status> Nothing(Context ctx) {
  co_await Yield();
  co_return ctx.status();
}

absl::Status Joined() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "the group takes no more tasks: its body and all its tasks have ended");
}

Async<absl::Status> KeepSpawner(Group& group, std::optional<Spawner>* spawner) {
  if (!spawner->has_value()) spawner->emplace(group);
  absl::Status spawned = co_await group.Spawn("task", Nothing);
  co_return spawned;
}

SEEDED_TEST(MisuseTest, ASpawnAfterTheJoinIsRefused) {
  std::optional<Spawner> spawner;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), KeepSpawner, &spawner);
  EXPECT_EQ(spawner->TrySpawn("late", Nothing), Joined());
  co_return result.status;
}

SEEDED_TEST(MisuseTest, AScopeIsNotReused) {
  std::optional<Spawner> spawner;
  GroupResult first = co_await WithGroup(ctx, GroupOptions(), KeepSpawner, &spawner);
  // The same body makes another scope, to which the handle of the first one does not lead.
  auto again = [](Group& group, std::optional<Spawner>* of) -> Async<absl::Status> {
    absl::Status spawned = co_await KeepSpawner(group, of);
    EXPECT_EQ((*of)->TrySpawn("late", Nothing), Joined());
    EXPECT_EQ(group.Stats().spawned, 1);
    co_return spawned;
  };
  GroupResult second = co_await WithGroup(ctx, GroupOptions(), again, &spawner);
  co_return first.status.ok() ? second.status : first.status;
}

SEEDED_TEST(MisuseTest, AChildThatWaitsForAPlaceOfItsOwnGroupIsRefused) {
  auto child = [](Context, Group* group) -> Async<absl::Status> {
    absl::Status spawned = co_await group->Spawn("sibling", Nothing);
    EXPECT_EQ(spawned,
              Error(absl::StatusCode::kFailedPrecondition,
                    "Spawn waits for a place and belongs to the group's body; a child uses "
                    "TrySpawn"));
    co_return absl::OkStatus();
  };
  auto body = [](Group& group, decltype(child) run) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("child", run, &group);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, child);
  co_return result.status;
}

SEEDED_TEST(MisuseTest, OptionsOfAGroupThatMakeNoSenseAreRefused) {
  GroupOptions limit, quorum, failures;
  limit.limit = -1;
  quorum.join = Join::Quorum(0);
  failures.join = Join::MaxFailures(-1);
  std::optional<Spawner> spawner;
  for (const GroupOptions& options : {limit, quorum, failures}) {
    GroupResult result = co_await WithGroup(ctx, options, KeepSpawner, &spawner);
    EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
  }
  EXPECT_FALSE(spawner.has_value()) << "the body ran";
  co_return absl::OkStatus();
}

SEEDED_TEST(MisuseTest, ASecondCloseIsRefused) {
  auto [sender, receiver] = MakeChannel<int>(1);
  Sender<int> other = sender;
  EXPECT_TRUE(sender.Close().ok());
  EXPECT_EQ(sender.Close(),
            Error(absl::StatusCode::kFailedPrecondition, "this sender has closed already"));
  // It was one close: the channel is open as long as the other sender is.
  EXPECT_TRUE(absl::IsUnavailable(receiver.TryReceive().status()));
  EXPECT_TRUE(other.TrySend(1).ok());
  co_return absl::OkStatus();
}

SEEDED_TEST(MisuseTest, ASendOnAClosedChannelIsRefused) {
  const absl::Status closed =
      Error(absl::StatusCode::kFailedPrecondition,
            "the channel is closed: nobody can receive, or this sender has closed");
  std::optional<Receiver<int>> receiver;
  auto [sender, taken] = MakeChannel<int>(1);
  receiver.emplace(std::move(taken));
  // A handle that was moved from has closed too.
  EXPECT_EQ(taken.TryReceive().status(),  // NOLINT(bugprone-use-after-move): that is tested
            Error(absl::StatusCode::kOutOfRange, "the channel is closed and drained"));
  receiver.reset();
  absl::Status sent = co_await sender.Send(ctx, 1);
  EXPECT_EQ(sent, closed);
  EXPECT_TRUE(sender.Close().ok());
  sent = co_await sender.Send(ctx, 1);
  EXPECT_EQ(sent, closed);
  EXPECT_EQ(sender.TrySend(1), closed);
  co_return absl::OkStatus();
}

SEEDED_TEST(MisuseTest, WeightsThatMakeNoSenseAreRefusedAndAPermitGoesBackOnce) {
  Semaphore semaphore(2);
  for (int64_t weight : {-1, 0, 3}) {
    absl::StatusOr<Permit> permit = co_await semaphore.Acquire(ctx, weight);
    EXPECT_TRUE(absl::IsInvalidArgument(permit.status())) << permit.status();
    EXPECT_FALSE(semaphore.TryAcquire(weight).has_value());
  }
  std::optional<Permit> one = semaphore.TryAcquire();
  std::optional<Permit> other = semaphore.TryAcquire();
  one->Release();
  one->Release();
  EXPECT_EQ(semaphore.Stats().held, 1);
  co_return absl::OkStatus();
}

// Holds what `alive` points to until it has ended, though it is told to end after a second.
Async<absl::Status> UseForLong(Context ctx, bool* alive) {
  absl::Status told = co_await Sleep(ctx, seconds(60));
  CancelScope cleanup = CancelScope::Shielded(ctx, seconds(5), "cleanup");
  absl::Status cleaned = co_await Sleep(cleanup.context(), seconds(2));
  EXPECT_TRUE(*alive) << "the caller went on without its work";
  co_return cleaned.ok() ? told : cleaned;
}

SEEDED_TEST(MisuseTest, ATimeoutReturnsOnlyWhenTheWorkHasEnded) {
  const Time start = ctx.Now();
  bool alive = true;
  absl::Status status = co_await WithTimeout(ctx, seconds(1), "call", UseForLong, &alive);
  alive = false;
  EXPECT_EQ(status, Error(absl::StatusCode::kDeadlineExceeded, "deadline of call exceeded"));
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  co_return absl::OkStatus();
}

Async<absl::Status> ThrowNumber(Context) {
  co_await Yield();
  throw 7;
}

SEEDED_TEST(MisuseTest, AnExceptionOfAnyTypeIsAnErrorOfItsTask) {
  auto body = [](Group& group) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("thrower", ThrowNumber);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  EXPECT_EQ(result.status,
            Error(absl::StatusCode::kInternal, "exception of a type that is no std::exception"));
  EXPECT_EQ(result.errors.front().task, "thrower");
  co_return absl::OkStatus();
}

// A task that waits for itself is found at once, and named.
SEEDED_TEST(MisuseTest, AReceiverThatHoldsTheOnlySenderIsFound) {
  SeededExecutor inner(executor.Random(1000));
  absl::Status status = inner.Run("self-waiter", [](Context of) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::StatusOr<int> never = co_await receiver.Receive(of);
    co_return never.status();
  });
  EXPECT_TRUE(IsDeadlock(status)) << status;
  EXPECT_NE(Message(status).find("[channel receive"), std::string_view::npos) << status;
  EXPECT_NE(Message(status).find("self-waiter"), std::string_view::npos) << status;
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery
