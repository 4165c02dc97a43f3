#include "nursery/core/semaphore.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

struct Shared {
  explicit Shared(int64_t size) : semaphore(size) {}
  Semaphore semaphore;
  int64_t held = 0;
  int64_t peak = 0;
  std::vector<int> order;
};

Async<absl::Status> Hold(Context ctx, Shared* shared, int64_t weight, int id) {
  absl::StatusOr<Permit> permit = co_await shared->semaphore.Acquire(ctx, weight);
  if (!permit.ok()) co_return permit.status();
  shared->order.push_back(id);
  shared->held += weight;
  shared->peak = std::max(shared->peak, shared->held);
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  shared->held -= weight;
  co_return slept;
}

Async<absl::Status> SpawnHolders(Group& group, Shared* shared, std::vector<int64_t> weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    absl::Status spawned =
        co_await group.Spawn("holder", Hold, shared, weights[i], static_cast<int>(i));
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(SemaphoreTest, NeverGivesMoreThanItsSize) {
  Shared shared(3);
  std::vector<int64_t> weights = {1, 3, 2, 1, 1, 2, 3, 1};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnHolders, &shared, weights);
  EXPECT_LE(shared.peak, 3);
  EXPECT_EQ(shared.order.size(), weights.size());
  EXPECT_EQ(shared.semaphore.Stats().held, 0);
  EXPECT_EQ(shared.semaphore.Stats().waiters, 0);
  co_return result.status;
}

Async<absl::Status> SpawnInOrder(Group& group, Shared* shared, std::vector<int64_t> weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    absl::Status spawned =
        co_await group.Spawn("holder", Hold, shared, weights[i], static_cast<int>(i));
    if (!spawned.ok()) co_return spawned;
    // Each is in the queue, or holds, before the next one comes.
    while (shared->semaphore.Stats().waiters + static_cast<int64_t>(shared->order.size()) <
           static_cast<int64_t>(i) + 1) {
      co_await Yield();
    }
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(SemaphoreTest, ALargeWaiterIsNotOvertakenBySmallOnes) {
  Shared shared(4);
  std::vector<int64_t> weights = {2, 4, 1, 1, 4, 2, 2};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnInOrder, &shared, weights);
  std::vector<int> order(shared.order);
  // Those who are granted together may run in any order; the large ones split the sequence.
  EXPECT_EQ(order[0], 0);
  EXPECT_EQ(order[1], 1);
  EXPECT_TRUE((order[2] == 2 && order[3] == 3) || (order[2] == 3 && order[3] == 2));
  EXPECT_EQ(order[4], 4);
  co_return result.status;
}

SEEDED_TEST(SemaphoreTest, TryAcquireDoesNotOvertakeAWaiter) {
  Semaphore semaphore(2);
  std::optional<Permit> one = semaphore.TryAcquire(1);
  EXPECT_TRUE(one.has_value());
  auto body = [](Group& group, Semaphore* shared) -> Async<absl::Status> {
    auto wait = [](Context child, Semaphore* of) -> Async<absl::Status> {
      absl::StatusOr<Permit> both = co_await of->Acquire(child, 2);
      co_return both.status();
    };
    absl::Status spawned = co_await group.Spawn("large", wait, shared);
    while (shared->Stats().waiters == 0) co_await Yield();
    EXPECT_FALSE(shared->TryAcquire(1).has_value());
    co_return spawned;
  };
  auto release = [](Group& group, Semaphore* shared, std::optional<Permit>* permit,
                    decltype(body) inner) -> Async<absl::Status> {
    absl::Status done = co_await inner(group, shared);
    permit->reset();
    co_return done;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), release, &semaphore, &one, body);
  co_return result.status;
}

SEEDED_TEST(SemaphoreTest, WeightAboveTheSizeIsAnErrorAtOnce) {
  Semaphore semaphore(5);
  absl::StatusOr<Permit> permit = co_await semaphore.Acquire(ctx, 6);
  EXPECT_EQ(permit.status(), Error(absl::StatusCode::kInvalidArgument,
                                   "weight 6 is above the semaphore's size of 5"));
  co_return absl::OkStatus();
}

SEEDED_TEST(SemaphoreTest, ACancelledContextTakesNothingEvenIfFree) {
  Semaphore semaphore(1);
  CancelScope scope(ctx);
  scope.Cancel("no");
  absl::StatusOr<Permit> permit = co_await semaphore.Acquire(scope.context());
  EXPECT_TRUE(absl::IsCancelled(permit.status()));
  EXPECT_EQ(semaphore.Stats().held, 0);
  co_return absl::OkStatus();
}

Async<absl::Status> TryFor(Context ctx, Shared* shared, int64_t weight, Duration patience, int id) {
  CancelScope scope(ctx, Later(ctx.Now(), patience), "patience");
  absl::Status held = co_await Hold(scope.context(), shared, weight, id);
  co_return absl::IsDeadlineExceeded(held) ? absl::OkStatus() : held;
}

Async<absl::Status> SpawnImpatient(Group& group, Shared* shared, SeededExecutor* executor) {
  for (int i = 0; i < 12; ++i) {
    const auto weight = static_cast<int64_t>(1 + executor->Random(4));
    const Duration patience = std::chrono::milliseconds(executor->Random(4000));
    absl::Status spawned = co_await group.Spawn("impatient", TryFor, shared, weight, patience, i);
    if (!spawned.ok()) co_return spawned;
    if (executor->Random(2) == 0) {
      absl::Status slept =
          co_await Sleep(group.context(), std::chrono::milliseconds(executor->Random(1500)));
      if (!slept.ok()) co_return slept;
    }
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(SemaphoreTest, CancelledWaitersConsumeNoPermit) {
  executor.BeSlow();
  Shared shared(4);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnImpatient, &shared, &executor);
  EXPECT_LE(shared.peak, 4);
  EXPECT_EQ(shared.semaphore.Stats().held, 0);
  EXPECT_TRUE(shared.semaphore.TryAcquire(4).has_value());
  co_return result.status;
}

// When the large head of the queue gives up, the small ones behind it go on at once.
SEEDED_TEST(SemaphoreTest, ACancelledHeadLetsItsFollowersPass) {
  Shared shared(4);
  std::optional<Permit> three = shared.semaphore.TryAcquire(3);
  auto body = [](Group& group, Shared* of) -> Async<absl::Status> {
    absl::Status large =
        co_await group.Spawn("large", TryFor, of, int64_t{4}, Duration(seconds(1)), 0);
    while (of->semaphore.Stats().waiters == 0) co_await Yield();
    absl::Status small =
        co_await group.Spawn("small", TryFor, of, int64_t{1}, Duration(seconds(10)), 1);
    co_return small.ok() ? large : small;
  };
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &shared);
  EXPECT_EQ(shared.order, std::vector<int>{1});
  EXPECT_EQ(ctx.Now() - start, seconds(2));
  co_return result.status;
}

Async<absl::Status> HoldUntilCancelled(Context ctx, Semaphore* semaphore) {
  absl::StatusOr<Permit> permit = co_await semaphore->Acquire(ctx, 2);
  if (!permit.ok()) co_return permit.status();
  co_return co_await UntilCancelled(ctx);
}

Async<absl::Status> LookAtHolders(Group& group, Semaphore* semaphore, const CancelScope* scope) {
  absl::Status holding = co_await group.Spawn("holder", HoldUntilCancelled, semaphore);
  while (semaphore->Stats().held == 0) co_await Yield();
  absl::Status waiting = co_await group.Spawn("waiter", HoldUntilCancelled, semaphore);
  while (semaphore->Stats().waiters == 0) co_await Yield();
  EXPECT_EQ(semaphore->Waiters(), std::vector<std::string>{"waiter"});
  const std::vector<SemaphoreHolder> holders = semaphore->Holders();
  EXPECT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders.at(0).weight, 2);
  const std::string dump = group.context().executor().Dump();
  EXPECT_NE(dump.find("task " + std::to_string(holders.at(0).task) + " [context done"),
            std::string::npos)
      << dump;
  scope->Cancel("seen");
  co_return holding.ok() ? waiting : holding;
}

SEEDED_TEST(SemaphoreTest, TellsWhoHoldsItAndWhoWaits) {
  Semaphore semaphore(3);
  CancelScope scope(ctx);
  GroupResult result =
      co_await WithGroup(scope.context(), GroupOptions(), LookAtHolders, &semaphore, &scope);
  EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  EXPECT_TRUE(semaphore.Holders().empty());
  std::optional<Permit> moved = semaphore.TryAcquire(1);
  EXPECT_EQ(semaphore.Holders().size(), 1u);
  const Permit kept = *std::move(moved);
  EXPECT_TRUE(semaphore.Holders().empty()) << "whose it is now nobody knows";
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery
