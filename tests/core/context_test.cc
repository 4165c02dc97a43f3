#include "nursery/core/context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SEEDED_TEST(ContextTest, ChildTakesTheEarlierDeadline) {
  const Time now = ctx.Now();
  CancelScope outer(ctx, now + seconds(5), "outer");
  CancelScope later(outer.context(), now + seconds(9), "later");
  CancelScope earlier(outer.context(), now + seconds(1), "earlier");
  EXPECT_EQ(later.context().deadline(), now + seconds(5));
  EXPECT_EQ(earlier.context().deadline(), now + seconds(1));
  EXPECT_EQ(earlier.context().remaining(), seconds(1));
  EXPECT_EQ(ctx.remaining(), Duration::max());
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, DeadlineNamesTheScopeThatSetIt) {
  CancelScope outer(ctx, ctx.Now() + seconds(1), "outer");
  CancelScope inner(outer.context(), ctx.Now() + seconds(9), "inner");
  absl::Status slept = co_await Sleep(inner.context(), seconds(60));
  EXPECT_EQ(slept, Error(absl::StatusCode::kDeadlineExceeded, "deadline of outer exceeded"));
  EXPECT_EQ(inner.context().cause()->kind, CauseKind::kDeadline);
  EXPECT_THAT(inner.context().cause()->site.file_name(), testing::EndsWith("context.cc"));
  EXPECT_FALSE(ctx.cancelled());
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, ADeadlineThatHadPassedIsTheCauseOfALaterCancel) {
  CancelScope call(ctx);
  CancelScope timed(call.context(), ctx.Now() + seconds(1), "timed");
  CancelScope below(timed.context());
  CancelScope beside(call.context(), ctx.Now() + seconds(9), "beside");
  executor.Stall(seconds(2));
  EXPECT_TRUE(call.Cancel("the client has gone"));
  EXPECT_EQ(timed.context().cause()->kind, CauseKind::kDeadline);
  EXPECT_EQ(below.context().cause(), timed.context().cause());
  EXPECT_EQ(beside.context().cause(), call.context().cause());
  EXPECT_EQ(call.context().cause()->kind, CauseKind::kExplicit);
  co_return absl::OkStatus();
}

// What tasks take and give of references to their own context only they count.
Async<absl::Status> KeepTwice(Context ctx, std::vector<Context>* kept) {
  kept->push_back(ctx);
  kept->push_back(ctx);
  co_await Yield();
  co_return absl::OkStatus();
}

Async<absl::Status> DropOne(Context, std::vector<Context>* kept) {
  while (kept->empty()) co_await Yield();
  kept->pop_back();
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnKeepers(Group& group, std::vector<Context>* kept) {
  absl::Status spawned = co_await group.Spawn("drop", DropOne, kept);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("keep", KeepTwice, kept);
  co_return spawned;
}

SEEDED_TEST(ContextTest, OutlivesTheGroupWhoseTasksHaveKeptIt) {
  std::vector<Context> kept;
  CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), SpawnKeepers, &kept);
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(kept.size(), 1U);
  EXPECT_FALSE(kept.front().cancelled());
  EXPECT_TRUE(scope.Cancel("enough"));
  EXPECT_TRUE(kept.front().cancelled());
  co_return absl::OkStatus();
}

TEST(ContextTest, ATaskMayLeaveItsContextToAnotherThread) {
  ThreadExecutor executor(1);
  const absl::Status status = executor.Run("root", [](Context ctx) -> Async<absl::Status> {
    auto give = [](Context of_group) -> Async<absl::Status> {
      std::thread([given = std::move(of_group)] { EXPECT_FALSE(given.cancelled()); }).join();
      co_return absl::OkStatus();
    };
    auto body = [](Group& group, decltype(give) run) -> Async<absl::Status> {
      for (int i = 0; i < 3; ++i) {
        absl::Status spawned = co_await group.Spawn("give", run);
        if (!spawned.ok()) co_return spawned;
      }
      co_return absl::OkStatus();
    };
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, give);
    EXPECT_EQ(result.succeeded, 3);
    co_return result.status;
  });
  EXPECT_TRUE(status.ok());
}

SEEDED_TEST(ContextTest, AnAwaitTakesATemporaryOver) {
  const ContextKey<int> key;
  auto slept = Sleep(ctx.With(key, 1), seconds(1));
  const absl::Status status = co_await slept;
  EXPECT_TRUE(status.ok());
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, APassedDeadlineCancelsAtBirth) {
  CancelScope late(ctx, ctx.Now() - milliseconds(1), "late");
  EXPECT_TRUE(late.context().cancelled());
  absl::Status slept = co_await Sleep(late.context(), Duration::zero());
  EXPECT_TRUE(absl::IsDeadlineExceeded(slept));
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, CancelReachesEveryDescendantOnceWithItsCause) {
  CancelScope top(ctx);
  std::vector<std::unique_ptr<CancelScope>> scopes;
  const Context* parent = &top.context();
  for (int i = 0; i < 10; ++i) {
    scopes.push_back(std::make_unique<CancelScope>(*parent));
    if (executor.Random(2) == 0) parent = &scopes.back()->context();
  }
  EXPECT_TRUE(top.Cancel("wrong input"));
  EXPECT_FALSE(top.Cancel("again"));
  for (const auto& scope : scopes) {
    EXPECT_EQ(scope->context().status(), Error(absl::StatusCode::kCancelled, "wrong input"));
    EXPECT_EQ(scope->context().cause()->kind, CauseKind::kExplicit);
    EXPECT_EQ(scope->context().cause()->site.line(), top.context().cause()->site.line());
  }
  CancelScope born_late(scopes.back()->context());
  EXPECT_EQ(born_late.context().status(), Error(absl::StatusCode::kCancelled, "wrong input"));
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, CancelOfAChildLeavesParentAndSiblings) {
  CancelScope parent(ctx);
  CancelScope one(parent.context());
  CancelScope two(parent.context());
  one.Cancel("one");
  EXPECT_TRUE(one.context().cancelled());
  EXPECT_FALSE(two.context().cancelled());
  EXPECT_FALSE(parent.context().cancelled());
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, ShieldedScopeOutlivesTheCancelButNotItsBudget) {
  CancelScope work(ctx);
  work.Cancel("stop");
  CancelScope cleanup = CancelScope::Shielded(work.context(), seconds(3), "cleanup");
  const Time start = ctx.Now();
  absl::Status slept = co_await Sleep(cleanup.context(), seconds(1));
  EXPECT_TRUE(slept.ok());
  slept = co_await Sleep(cleanup.context(), seconds(60));
  EXPECT_EQ(slept, Error(absl::StatusCode::kDeadlineExceeded, "deadline of cleanup exceeded"));
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, FinishedScopesLeaveNoTimers) {
  for (int i = 0; i < 100; ++i) CancelScope done(ctx, ctx.Now() + seconds(60), "done");
  EXPECT_EQ(executor.timers().size(), 0u);
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, ManyThousandNestedScopesCancelWithoutDeepRecursion) {
  if (executor.Random(50) != 0) co_return absl::OkStatus();  // once in a while is enough
  CancelScope top(ctx);
  std::vector<Context> chain = {top.context()};
  for (int i = 0; i < 5000; ++i) chain.push_back(CancelScope(chain.back()).context());
  top.Cancel("down");
  EXPECT_TRUE(chain.back().cancelled());
  // The deepest goes first, so that no destructor has a chain below it.
  while (!chain.empty()) chain.pop_back();
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, ALongChainOfScopesGoesWithoutDeepRecursion) {
  if (executor.Random(50) != 0) co_return absl::OkStatus();  // once in a while is enough
  static const ContextKey<int> kDepth;
  Context deepest = ctx;
  for (int i = 0; i < 200'000; ++i) deepest = deepest.With(kDepth, i);
  EXPECT_EQ(*deepest.Value(kDepth), 199'999);
  deepest = ctx;
  co_return absl::OkStatus();
}

Async<absl::Status> SleepLong(Context ctx) { co_return co_await Sleep(ctx, seconds(3600)); }

Async<absl::Status> CancelSoon(Context ctx, const CancelScope* scope) {
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  scope->Cancel("enough");
  co_return slept;
}

Async<absl::Status> SpawnSleepers(Group& group) {
  for (int i = 0; i < 5; ++i) {
    absl::Status spawned = co_await group.Spawn("sleeper", SleepLong);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> CollectSleepers(Context ctx, int64_t* errors) {
  GroupOptions options;
  options.join = Join::Collect();
  GroupResult result = co_await WithGroup(ctx, options, SpawnSleepers);
  *errors = result.error_count;
  co_return result.status;
}

Async<absl::Status> CancelAndCollect(Group& group, const CancelScope* scope, int64_t* errors) {
  absl::Status spawned = co_await group.Spawn("canceller", CancelSoon, scope);
  if (!spawned.ok()) co_return spawned;
  absl::Status collected = co_await CollectSleepers(scope->context(), errors);
  EXPECT_EQ(collected, Error(absl::StatusCode::kCancelled, "enough"));
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, CancelWakesEveryTaskBelow) {
  CancelScope scope(ctx);
  int64_t errors = 0;
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), CancelAndCollect, &scope, &errors);
  EXPECT_EQ(errors, 5);
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  co_return result.status;
}

const ContextKey<std::string> kTenant;
const ContextKey<int> kPriority;

SEEDED_TEST(ContextTest, ValuesReachWhatIsBelowAndNothingElse) {
  EXPECT_EQ(ctx.Value(kTenant), nullptr);
  Context tenant = ctx.With(kTenant, std::string("ann"));
  Context urgent = tenant.With(kPriority, 7);
  CancelScope below(urgent);
  Context other = below.context().With(kTenant, std::string("bob"));
  EXPECT_EQ(*below.context().Value(kTenant), "ann");
  EXPECT_EQ(*below.context().Value(kPriority), 7);
  EXPECT_EQ(*other.Value(kTenant), "bob");
  EXPECT_EQ(*other.Value(kPriority), 7);
  EXPECT_EQ(tenant.Value(kPriority), nullptr);
  EXPECT_EQ(ctx.Value(kTenant), nullptr);
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, ValuesAreCancelledWithTheirParentAndSurviveInShieldedScopes) {
  CancelScope work(ctx);
  Context tenant = work.context().With(kTenant, std::string("ann"));
  CancelScope cleanup = CancelScope::Shielded(tenant, seconds(1), "cleanup");
  work.Cancel("stop");
  EXPECT_EQ(tenant.status(), Error(absl::StatusCode::kCancelled, "stop"));
  EXPECT_FALSE(cleanup.context().cancelled());
  EXPECT_EQ(*cleanup.context().Value(kTenant), "ann");
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, AfterFuncRunsOnceWhenCancelled) {
  CancelScope outer(ctx);
  CancelScope inner(outer.context());
  std::vector<int> ran;
  CancelCallback one = outer.context().AfterFunc([&ran]() noexcept { ran.push_back(1); });
  CancelCallback two = outer.context().AfterFunc([&ran]() noexcept { ran.push_back(2); });
  CancelCallback three = inner.context().AfterFunc([&ran]() noexcept { ran.push_back(3); });
  EXPECT_TRUE(ran.empty());
  outer.Cancel("stop");
  outer.Cancel("again");
  EXPECT_EQ(ran, (std::vector<int>{3, 2, 1}));
  EXPECT_FALSE(one.Stop());
  CancelCallback late = inner.context().AfterFunc([&ran]() noexcept { ran.push_back(4); });
  EXPECT_EQ(ran.back(), 4);
  EXPECT_FALSE(late.Stop());
  co_return absl::OkStatus();
}

SEEDED_TEST(ContextTest, AfterFuncDoesNotRunOnceItWasStopped) {
  CancelScope scope(ctx, ctx.Now() + seconds(1), "scope");
  int ran = 0;
  CancelCallback stopped = scope.context().AfterFunc([&ran]() noexcept { ++ran; });
  EXPECT_TRUE(stopped.Stop());
  EXPECT_FALSE(stopped.Stop());
  {
    CancelCallback gone = scope.context().AfterFunc([&ran]() noexcept { ++ran; });
  }
  CancelCallback moved = scope.context().AfterFunc([&ran]() noexcept { ran += 10; });
  CancelCallback kept(std::move(moved));
  absl::Status slept = co_await Sleep(scope.context(), seconds(60));
  EXPECT_TRUE(absl::IsDeadlineExceeded(slept));
  EXPECT_TRUE(ctx.AfterFunc([&ran]() noexcept { ++ran; }).Stop());
  // The deadline wakes tasks first, and its function a moment later.
  co_await Yield();
  EXPECT_EQ(ran, 10);
  co_return absl::OkStatus();
}

// Both are due when the first one runs.
SEEDED_TEST(ContextTest, AfterFuncMayStopAnotherAndItself) {
  CancelScope scope(ctx);
  bool ran = false;
  std::optional<CancelCallback> victim, killer;
  victim.emplace(scope.context().AfterFunc([&ran]() noexcept { ran = true; }));
  killer.emplace(scope.context().AfterFunc([&]() noexcept {
    EXPECT_TRUE(victim->Stop());
    killer.reset();
  }));
  scope.Cancel("stop");
  EXPECT_FALSE(killer.has_value());
  EXPECT_FALSE(ran);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelNow(Context ctx, const CancelScope* scope) {
  scope->Cancel("now");
  co_return ctx.status();
}

Async<absl::Status> StopWhileCancelled(Group& group, const CancelScope* scope, int yields) {
  auto value = std::make_unique<std::atomic<int>>(0);
  CancelCallback callback =
      scope->context().AfterFunc([of = value.get()]() noexcept { of->fetch_add(1); });
  absl::Status spawned = co_await group.Spawn("canceller", CancelNow, scope);
  for (int i = 0; i < yields; ++i) co_await Yield();
  const bool prevented = callback.Stop();
  // Whatever came first, the function does not run any more: its value may go.
  EXPECT_EQ(value->load(), prevented ? 0 : 1);
  value.reset();
  co_return spawned;
}

TEST(ContextStressTest, AfterFuncNeverRunsAfterItsStop) {
  ThreadExecutor executor(2);
  auto rounds = [](Context ctx) -> Async<absl::Status> {
    for (int i = 0; i < 5000; ++i) {
      CancelScope scope(ctx);
      GroupResult result =
          co_await WithGroup(ctx, GroupOptions(), StopWhileCancelled, &scope, i % 3);
      if (!result.status.ok()) co_return result.status;
    }
    co_return absl::OkStatus();
  };
  absl::Status status = executor.Run("stress", rounds);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
