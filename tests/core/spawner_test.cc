#include "nursery/core/spawner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>

#include "nursery/core/channel.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

Async<absl::Status> Count(Context ctx, std::atomic<int>* ran) {
  co_await Yield();
  ran->fetch_add(1);
  co_return ctx.status();
}

// A scope that stays open for a second.
Async<absl::Status> StayOpen(Group& group, std::optional<Spawner>* spawner) {
  spawner->emplace(group);
  co_return co_await Sleep(group.context(), seconds(1));
}

Async<absl::Status> OpenScope(Context ctx, std::optional<Spawner>* spawner) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), StayOpen, spawner);
  co_return result.status;
}

SEEDED_TEST(SpawnerTest, SpawnsFromOutsideUntilTheJoinAndRefusesAfterwards) {
  std::optional<Spawner> spawner;
  std::atomic<int> ran = 0;
  auto body = [](Group& outer, std::optional<Spawner>* of,
                 std::atomic<int>* count) -> Async<absl::Status> {
    absl::Status spawned = co_await outer.Spawn("scope", OpenScope, of);
    while (!of->has_value()) co_await Yield();
    EXPECT_TRUE((*of)->TrySpawn("early", Count, count).ok());
    absl::Status slept = co_await Sleep(outer.context(), seconds(2));
    EXPECT_EQ(*count, 1);
    EXPECT_EQ((*of)->TrySpawn("late", Count, count),
              Error(absl::StatusCode::kFailedPrecondition,
                    "the group takes no more tasks: its body and all its tasks have ended"));
    co_return spawned.ok() ? slept : spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &spawner, &ran);
  EXPECT_EQ(ran, 1);
  co_return result.status;
}

struct ThrowsWhenMoved {
  ThrowsWhenMoved() = default;
  ThrowsWhenMoved(const ThrowsWhenMoved& other) = default;
  // NOLINTNEXTLINE(performance-noexcept-move-constructor): it throws
  ThrowsWhenMoved(ThrowsWhenMoved&& other) : moves(other.moves + 1) {
    if (moves == 2) throw std::runtime_error("no");
  }

  int moves = 0;
};

Async<absl::Status> Take(Context, ThrowsWhenMoved) { co_return absl::OkStatus(); }

SEEDED_TEST(SpawnerTest, ATaskThatCannotBeMadeLeavesNoPlaceTaken) {
  auto body = [](Group& group, std::atomic<int>* count) -> Async<absl::Status> {
    const Spawner spawner(group);
    absl::Status thrown = spawner.TrySpawn("take", Take, ThrowsWhenMoved());
    EXPECT_EQ(thrown, Error(absl::StatusCode::kInternal, "exception: no"));
    EXPECT_EQ(group.Stats().spawned, 0);
    co_return spawner.TrySpawn("count", Count, count);
  };
  std::atomic<int> ran = 0;
  GroupOptions options;
  options.limit = 1;
  GroupResult result = co_await WithGroup(ctx, options, body, &ran);
  EXPECT_EQ(ran, 1);
  co_return result.status;
}

SEEDED_TEST(SpawnerTest, ObeysTheLimitAndTheCancelOfItsGroup) {
  auto body = [](Group& group, std::atomic<int>* count) -> Async<absl::Status> {
    const Spawner spawner(group);
    EXPECT_TRUE(spawner.TrySpawn("one", Count, count).ok());
    EXPECT_TRUE(absl::IsResourceExhausted(spawner.TrySpawn("two", Count, count)));
    absl::Status slept = co_await Sleep(group.context(), seconds(9));
    EXPECT_EQ(spawner.TrySpawn("three", Count, count), slept);
    co_return slept;
  };
  CancelScope scope(ctx, ctx.Now() + seconds(1), "scope");
  GroupOptions options;
  options.limit = 1;
  std::atomic<int> ran = 0;
  GroupResult result = co_await WithGroup(scope.context(), options, body, &ran);
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status));
  EXPECT_EQ(ran, 1);
  co_return absl::OkStatus();
}

// The task that it leaves behind makes the join wait, so that there is a moment between the end of
// all and the end of the scope.
Async<absl::Status> Leave(Group& group, Sender<Spawner> out, std::atomic<int>* left) {
  absl::Status spawned = co_await group.Spawn("left", Count, left);
  co_return spawned.ok() ? out.TrySend(Spawner(group)) : spawned;
}

Async<absl::Status> OpenAndLeave(Context ctx, Sender<Spawner> out, int rounds) {
  std::atomic<int> left = 0;
  for (int i = 0; i < rounds; ++i) {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), Leave, out, &left);
    if (!result.status.ok()) co_return result.status;
  }
  co_return absl::OkStatus();
}

// Spawns into scopes that are just ending.
Async<absl::Status> SpawnLate(Context ctx, Receiver<Spawner> in, std::atomic<int>* accepted,
                              std::atomic<int>* ran) {
  for (;;) {
    absl::StatusOr<Spawner> spawner = co_await in.Receive(ctx);
    if (absl::IsOutOfRange(spawner.status())) co_return absl::OkStatus();
    if (!spawner.ok()) co_return spawner.status();
    absl::Status spawned = spawner->TrySpawn("late", Count, ran);
    EXPECT_TRUE(spawned.ok() || absl::IsFailedPrecondition(spawned)) << spawned;
    if (spawned.ok()) accepted->fetch_add(1);
  }
}

Async<absl::Status> RaceWithTheJoin(Group& group, int rounds, std::atomic<int>* accepted,
                                    std::atomic<int>* ran) {
  auto [sender, receiver] = MakeChannel<Spawner>(static_cast<size_t>(rounds));
  absl::Status one = co_await group.Spawn("open", OpenAndLeave, std::move(sender), rounds);
  absl::Status two = co_await group.Spawn("late", SpawnLate, std::move(receiver), accepted, ran);
  co_return one.ok() ? two : one;
}

SEEDED_TEST(SpawnerTest, EveryTaskAcceptedAtTheLastMomentRuns) {
  std::atomic<int> accepted = 0;
  std::atomic<int> ran = 0;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RaceWithTheJoin, 5, &accepted, &ran);
  EXPECT_EQ(accepted, ran);
  co_return result.status;
}

TEST(SpawnerStressTest, TheJoinAndASpawnOnTwoThreads) {
  ThreadExecutor executor(2);
  std::atomic<int> accepted = 0;
  std::atomic<int> ran = 0;
  auto root = [](Context ctx, std::atomic<int>* of, std::atomic<int>* did) -> Async<absl::Status> {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), RaceWithTheJoin, 5000, of, did);
    co_return result.status;
  };
  absl::Status status =
      executor.Run("stress", [&](Context ctx) { return root(std::move(ctx), &accepted, &ran); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(accepted, ran);
}

}  // namespace
}  // namespace nursery
