#include "nursery/core/group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

GroupOptions Options(Join join, int64_t limit = 0) {
  GroupOptions options;
  options.join = join;
  options.limit = limit;
  return options;
}

absl::Status Boom(int id) {
  return Error(absl::StatusCode::kDataLoss, "boom " + std::to_string(id));
}

// What one child does: ends after `delay`, with an error or without.
struct Plan {
  Plan() = default;
  Plan(bool does_fail, Duration its_delay) : fails(does_fail), delay(its_delay) {}

  bool fails = false;
  Duration delay{};
};

struct Trace {
  int64_t live = 0;
  int64_t peak = 0;
  int64_t ended = 0;
};

Async<absl::Status> Child(Context ctx, Trace* trace, Plan plan, int id) {
  ++trace->live;
  trace->peak = std::max(trace->peak, trace->live);
  absl::Status slept = co_await Sleep(ctx, plan.delay);
  co_await Yield();
  --trace->live;
  ++trace->ended;
  if (!slept.ok()) co_return slept;
  co_return plan.fails ? Boom(id) : absl::OkStatus();
}

Async<absl::Status> SpawnAll(Group& group, Trace* trace, std::vector<Plan> plans) {
  for (size_t i = 0; i < plans.size(); ++i) {
    absl::Status spawned = co_await group.Spawn("child " + std::to_string(i), Child, trace,
                                                plans[i], static_cast<int>(i));
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

// Children 0..n-1, of which child i ends i+1 seconds after its start and those in `failing` fail.
template <class... Indices>
std::vector<Plan> Staggered(int n, Indices... failing) {
  std::vector<Plan> plans;
  for (int i = 0; i < n; ++i) plans.emplace_back(false, seconds(i + 1));
  ((plans[static_cast<size_t>(failing)].fails = true), ...);
  return plans;
}

Async<GroupResult> RunPlans(Context ctx, GroupOptions options, Trace* trace,
                            std::vector<Plan> plans) {
  GroupResult result = co_await WithGroup(ctx, options, SpawnAll, trace, std::move(plans));
  EXPECT_EQ(trace->live, 0) << "a task outlived its scope";
  co_return result;
}

SEEDED_TEST(GroupTest, AllSucceedsWhenEveryoneDoes) {
  Trace trace;
  GroupResult result = co_await RunPlans(ctx, Options(Join::All()), &trace, Staggered(5));
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.succeeded, 5);
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, AllFailsFastAndCancelsTheRest) {
  Trace trace;
  const Time start = ctx.Now();
  GroupResult result = co_await RunPlans(ctx, Options(Join::All()), &trace, Staggered(5, 1));
  EXPECT_EQ(result.status, Boom(1));
  EXPECT_EQ(result.error_count, 1);
  EXPECT_EQ(result.succeeded, 1);
  EXPECT_EQ(result.cancelled, 3);
  EXPECT_EQ(ctx.Now() - start, seconds(2));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, CollectWaitsForAllAndKeepsEveryError) {
  Trace trace;
  GroupResult result = co_await RunPlans(ctx, Options(Join::Collect()), &trace, Staggered(6, 1, 4));
  EXPECT_EQ(result.status, Boom(1));
  EXPECT_EQ(result.error_count, 2);
  EXPECT_EQ(result.succeeded, 4);
  EXPECT_EQ(result.errors.back().task, "child 4");
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, CollectKeepsBoundedErrorsAndCountsAll) {
  Trace trace;
  std::vector<Plan> plans(100, Plan(true, milliseconds(1)));
  GroupResult result = co_await RunPlans(ctx, Options(Join::Collect()), &trace, plans);
  EXPECT_EQ(result.errors.size(), kMaxGroupErrors);
  EXPECT_EQ(result.error_count, 100);
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, AnyTakesTheFirstSuccess) {
  Trace trace;
  const Time start = ctx.Now();
  GroupResult result = co_await RunPlans(ctx, Options(Join::Any()), &trace, Staggered(5, 0, 1));
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.cancelled, 2);
  EXPECT_EQ(result.error_count, 2);
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, AnyFailsWhenNoneCanSucceed) {
  Trace trace;
  GroupResult result = co_await RunPlans(ctx, Options(Join::Any()), &trace, Staggered(2, 0, 1));
  EXPECT_EQ(result.status, Annotate(Boom(0), "0 of the required 1 tasks succeeded"));
  Trace none;
  GroupResult empty = co_await RunPlans(ctx, Options(Join::Any()), &none, {});
  EXPECT_TRUE(absl::IsFailedPrecondition(empty.status));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, QuorumEndsAsSoonAsItIsReachedOrUnreachable) {
  Trace trace;
  const Time start = ctx.Now();
  GroupResult reached = co_await RunPlans(ctx, Options(Join::Quorum(2)), &trace, Staggered(5, 0));
  EXPECT_TRUE(reached.status.ok());
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  const Time again = ctx.Now();
  GroupResult missed = co_await RunPlans(ctx, Options(Join::Quorum(4)), &trace, Staggered(5, 0, 1));
  EXPECT_EQ(missed.status, Annotate(Boom(0), "0 of the required 4 tasks succeeded"));
  EXPECT_EQ(ctx.Now() - again, seconds(2));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, MaxFailuresToleratesSoMany) {
  Trace trace;
  GroupResult tolerated =
      co_await RunPlans(ctx, Options(Join::MaxFailures(2)), &trace, Staggered(5, 0, 3));
  EXPECT_TRUE(tolerated.status.ok());
  EXPECT_EQ(tolerated.error_count, 2);
  const Time start = ctx.Now();
  GroupResult exceeded =
      co_await RunPlans(ctx, Options(Join::MaxFailures(1)), &trace, Staggered(5, 0, 1));
  EXPECT_EQ(exceeded.status, Boom(1));
  EXPECT_EQ(ctx.Now() - start, seconds(2));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, EmptyGroupSucceeds) {
  Trace trace;
  for (Join join : {Join::All(), Join::Collect(), Join::MaxFailures(0)}) {
    GroupResult result = co_await RunPlans(ctx, Options(join), &trace, {});
    EXPECT_TRUE(result.status.ok());
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, LimitBoundsTheLiveTasks) {
  Trace trace;
  std::vector<Plan> plans(20, Plan(false, seconds(1)));
  GroupResult result = co_await RunPlans(ctx, Options(Join::All(), 3), &trace, plans);
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(trace.peak, 3);
  EXPECT_EQ(trace.ended, 20);
  co_return absl::OkStatus();
}

// Every policy x how the children end x limit: the scope never leaks, never hangs, and a parent's
// cancel or deadline ends it at once.
SEEDED_TEST(GroupTest, EveryPolicyEndsUnderCancelAndDeadline) {
  for (Join join :
       {Join::All(), Join::Collect(), Join::Any(), Join::Quorum(2), Join::MaxFailures(1)}) {
    for (int64_t limit : {0, 1}) {
      const Time start = ctx.Now();
      CancelScope scope(ctx, start + milliseconds(500), "test");
      Trace trace;
      GroupResult result = co_await RunPlans(scope.context(), Options(join, limit), &trace,
                                             Staggered(4, 0, 1, 2, 3));
      EXPECT_TRUE(absl::IsDeadlineExceeded(result.status)) << result.status;
      EXPECT_EQ(ctx.Now() - start, milliseconds(500));
    }
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, ACancelFromOutsideIsNoFailureThatIsTolerated) {
  CancelScope scope(ctx, ctx.Now() + milliseconds(500), "test");
  Trace trace;
  GroupResult result =
      co_await RunPlans(scope.context(), Options(Join::MaxFailures(9)), &trace, Staggered(1));
  EXPECT_EQ(result.status, scope.context().status());
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status)) << result.status;
  EXPECT_EQ(result.error_count, 0);
  EXPECT_EQ(result.cancelled, 1);
  co_return absl::OkStatus();
}

// Not even when the context is cancelled by the time at which the group ends.
SEEDED_TEST(GroupTest, FailuresOfTheTasksThemselvesAreTolerated) {
  CancelScope scope(ctx);
  auto body = [](Group& group, const CancelScope* outer) -> Async<absl::Status> {
    absl::Status spawned =
        co_await group.Spawn("fails", [](Context) -> Async<absl::Status> { co_return Boom(1); });
    co_await Yield();
    outer->Cancel("late");
    co_return spawned;
  };
  GroupResult result =
      co_await WithGroup(scope.context(), Options(Join::MaxFailures(1)), body, &scope);
  EXPECT_EQ(result.error_count, 1);
  EXPECT_TRUE(result.status.ok()) << result.status;
  co_return absl::OkStatus();
}

Async<absl::Status> SleepLong(Context ctx) { co_return co_await Sleep(ctx, seconds(60)); }

Async<absl::Status> AnyOfSleepers(Context ctx) {
  auto body = [](Group& group) -> Async<absl::Status> {
    absl::Status first = co_await group.Spawn("first", SleepLong);
    if (!first.ok()) co_return first;
    absl::Status second = co_await group.Spawn("second", SleepLong);
    co_return second;
  };
  GroupResult result = co_await WithGroup(ctx, Options(Join::Any()), body);
  co_return Annotate(result.status, "inner");
}

// Although each scope on the way has said something of its own.
SEEDED_TEST(GroupTest, WhatIsToldToSiblingsIsNoErrorHoweverItComesBack) {
  auto body = [](Group& group) -> Async<absl::Status> {
    absl::Status inner = co_await group.Spawn("inner", AnyOfSleepers);
    if (!inner.ok()) co_return inner;
    absl::Status failing = co_await group.Spawn("fails", [](Context of) -> Async<absl::Status> {
      absl::Status slept = co_await Sleep(of, seconds(1));
      co_return slept.ok() ? Boom(1) : slept;
    });
    co_return failing;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  EXPECT_EQ(result.status, Boom(1));
  EXPECT_EQ(result.error_count, 1);
  EXPECT_EQ(result.cancelled, 1);
  co_return absl::OkStatus();
}

Async<absl::Status> ThrowSoon(Context ctx) {
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  if (slept.ok()) throw std::runtime_error("thrown");
  co_return slept;
}

SEEDED_TEST(GroupTest, AnExceptionIsAnErrorOfTheGroup) {
  auto body = [](Group& group) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("thrower", ThrowSoon);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  EXPECT_EQ(result.status, Error(absl::StatusCode::kInternal, "exception: thrown"));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, AFailingBodyCancelsItsTasks) {
  Trace trace;
  const Time start = ctx.Now();
  auto body = [](Group& group, Trace* of) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("child", Child, of, Plan(false, seconds(60)), 0);
    co_return spawned.ok() ? Boom(99) : spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &trace);
  EXPECT_EQ(result.status, Boom(99));
  EXPECT_EQ(ctx.Now(), start);
  auto throwing = [](Group&) -> Async<absl::Status> {
    throw std::runtime_error("body");
    co_return absl::OkStatus();
  };
  GroupResult thrown = co_await WithGroup(ctx, GroupOptions(), throwing);
  EXPECT_EQ(thrown.status, Error(absl::StatusCode::kInternal, "exception: body"));
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, SpawnAfterTheDecisionGivesTheCause) {
  Trace trace;
  auto body = [](Group& group, Trace* of) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("failing", Child, of, Plan(true, seconds(1)), 7);
    EXPECT_TRUE(spawned.ok());
    absl::Status cancelled = co_await UntilCancelled(group.context());
    EXPECT_EQ(cancelled, Error(absl::StatusCode::kCancelled, "sibling failing failed: boom 7"));
    absl::Status late = co_await group.Spawn("late", Child, of, Plan(), 8);
    EXPECT_EQ(late, cancelled);
    co_return late;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &trace);
  EXPECT_EQ(result.status, Boom(7));
  EXPECT_EQ(trace.ended, 1);
  co_return absl::OkStatus();
}

// A child that waited for a place of its own group would wait for itself.
SEEDED_TEST(GroupTest, ChildrenSpawnSiblingsWithTrySpawnOnly) {
  Trace trace;
  auto child = [](Context child_ctx, Group* group, Trace* of) -> Async<absl::Status> {
    absl::Status waiting = co_await group->Spawn("sibling", Child, of, Plan(), 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(waiting)) << waiting;
    absl::Status full = group->TrySpawn("sibling", Child, of, Plan(), 2);
    EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
    co_return child_ctx.status();
  };
  auto body = [](Group& group, Trace* of, decltype(child) run) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("child", run, &group, of);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, Options(Join::All(), 1), body, &trace, child);
  EXPECT_EQ(trace.ended, 0);
  co_return result.status;
}

SEEDED_TEST(GroupTest, ATaskSpawnedByAChildKeepsTheScopeOpen) {
  Trace trace;
  auto child = [](Context child_ctx, Group* group, Trace* of) -> Async<absl::Status> {
    absl::Status spawned = group->TrySpawn("sibling", Child, of, Plan(false, seconds(5)), 2);
    EXPECT_TRUE(spawned.ok()) << spawned;
    co_return child_ctx.status();
  };
  auto body = [](Group& group, Trace* of, decltype(child) run) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("child", run, &group, of);
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &trace, child);
  EXPECT_EQ(trace.live, 0);
  EXPECT_EQ(trace.ended, 1);
  co_return result.status;
}

SEEDED_TEST(GroupTest, NestedFailureTravelsToTheTop) {
  auto inner = [](Context inner_ctx, Trace* of) -> Async<absl::Status> {
    GroupResult result = co_await RunPlans(inner_ctx, Options(Join::All()), of, Staggered(3, 0));
    co_return result.status;
  };
  auto body = [](Group& group, Trace* traces, decltype(inner) run) -> Async<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      absl::Status spawned = co_await group.Spawn("inner", run, traces + i);
      if (!spawned.ok()) co_return spawned;
    }
    co_return absl::OkStatus();
  };
  Trace traces[3];
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &traces[0], inner);
  EXPECT_EQ(result.status, Boom(0));
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  EXPECT_EQ(result.error_count + result.cancelled + result.succeeded, 3);
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, StatsFollowTheTasks) {
  Trace trace;
  auto body = [](Group& group, Trace* of) -> Async<absl::Status> {
    absl::Status one = co_await group.Spawn("one", Child, of, Plan(false, seconds(1)), 1);
    absl::Status two = co_await group.Spawn("two", Child, of, Plan(false, seconds(3)), 2);
    EXPECT_EQ(group.Stats().running, 2);
    absl::Status slept = co_await Sleep(group.context(), seconds(2));
    EXPECT_EQ(group.Stats().running, 1);
    EXPECT_EQ(group.Stats().spawned, 2);
    EXPECT_EQ(group.Stats().succeeded, 1);
    co_return one.ok() && two.ok() ? slept : one;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &trace);
  co_return result.status;
}

Async<absl::Status> HoldForASecond(Context ctx, Semaphore* db, Trace* trace) {
  trace->peak = std::max(trace->peak, db->Stats().held);
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  EXPECT_GE(db->Stats().held, 1);
  ++trace->ended;
  co_return slept;
}

Async<absl::Status> SpawnHolders(Group& group, Semaphore* db, Trace* trace) {
  for (int i = 0; i < 6; ++i) {
    absl::StatusOr<Permit> permit = co_await db->Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    absl::Status spawned =
        co_await group.SpawnWith(std::move(*permit), "holder", HoldForASecond, db, trace);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(GroupTest, ATaskHoldsItsPermitUntilItsEnd) {
  Semaphore db(2);
  Trace trace;
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnHolders, &db, &trace);
  EXPECT_EQ(trace.peak, 2);
  EXPECT_EQ(trace.ended, 6);
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  EXPECT_EQ(db.Stats().held, 0);
  co_return result.status;
}

SEEDED_TEST(GroupTest, ARefusedSpawnGivesItsPermitBack) {
  Semaphore db(1);
  Trace trace;
  auto body = [](Group& group, Semaphore* of, Trace* seen) -> Async<absl::Status> {
    absl::Status first = co_await group.Spawn("first", Child, seen, Plan(true, seconds(1)), 1);
    EXPECT_TRUE(first.ok());
    Permit permit = std::move(*of->TryAcquire());
    absl::Status refused =
        co_await group.SpawnWith(std::move(permit), "holder", HoldForASecond, of, seen);
    EXPECT_TRUE(absl::IsCancelled(refused)) << refused;
    EXPECT_EQ(of->Stats().held, 0);
    co_return refused;
  };
  GroupResult result = co_await WithGroup(ctx, Options(Join::All(), 1), body, &db, &trace);
  EXPECT_EQ(result.status, Boom(1));
  co_return absl::OkStatus();
}

Async<absl::Status> Fail(Context) {
  co_await Yield();
  co_return Boom(1);
}

Async<absl::Status> SpawnWhatFails(Group& group) {
  for (int i = 0; i < 8; ++i) {
    absl::Status spawned = co_await group.Spawn("task", Fail);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> AnyOfWhatFails(Context ctx) {
  GroupResult result = co_await WithGroup(ctx, Options(Join::Any()), SpawnWhatFails);
  co_return result.status;
}

// Tasks that end at the same moment on several threads must not leave the decision to each other.
TEST(GroupStressTest, AnyOfTasksThatAllFailFails) {
  ThreadExecutor executor(4);
  for (int i = 0; i < 5000; ++i) {
    const absl::Status status = executor.Run("root", AnyOfWhatFails);
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << "round " << i;
  }
}

struct Holders {
  Holders() = default;
  Semaphore permits{3};
  std::atomic<int> live = 0;
  std::atomic<int> ended = 0;
};

Async<absl::Status> CountHolders(Context ctx, Holders* holders) {
  EXPECT_LE(holders->live.fetch_add(1), 2);
  co_await Yield();
  holders->live.fetch_sub(1);
  holders->ended.fetch_add(1);
  co_return ctx.status();
}

Async<absl::Status> SpawnWithPermits(Group& group, Holders* holders) {
  for (int i = 0; i < 3000; ++i) {
    absl::StatusOr<Permit> permit = co_await holders->permits.Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    absl::Status spawned =
        co_await group.SpawnWith(std::move(*permit), "holder", CountHolders, holders);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

TEST(GroupStressTest, TasksWithPermitsOnThreads) {
  ThreadExecutor executor(2);
  Holders holders;
  absl::Status status = executor.Run("stress", [&holders](Context ctx) {
    return [](Context root, Holders* of) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(root, GroupOptions(), SpawnWithPermits, of);
      co_return result.status;
    }(std::move(ctx), &holders);
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(holders.ended, 3000);
  EXPECT_EQ(holders.permits.Stats().held, 0);
}

TEST(GroupStressTest, ManyTasksOnThreads) {
  ThreadExecutor executor(2);
  auto leaf = [](Context ctx) -> Async<absl::Status> {
    co_await Yield();
    co_return ctx.status();
  };
  auto body = [](Group& group, decltype(leaf) run) -> Async<absl::Status> {
    for (int i = 0; i < 2000; ++i) {
      absl::Status spawned = co_await group.Spawn("leaf", run);
      if (!spawned.ok()) co_return spawned;
    }
    co_return absl::OkStatus();
  };
  absl::Status status = executor.Run("stress", [&](Context ctx) {
    return [](Context root, decltype(body) spawn, decltype(leaf) run) -> Async<absl::Status> {
      for (int64_t limit : {0, 1, 7}) {
        GroupResult result = co_await WithGroup(root, Options(Join::All(), limit), spawn, run);
        EXPECT_EQ(result.succeeded, 2000);
      }
      co_return absl::OkStatus();
    }(std::move(ctx), body, leaf);
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
