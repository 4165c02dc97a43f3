#include "nursery/core/leak.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <string>
#include <thread>

#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/spawner.h"
#include "nursery/testing/leak_check.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::MatchesRegex;

auto Named(const std::string& name) { return Field(&leak::LiveTask::name, name); }

Async<absl::Status> KeepAlive(Context ctx) { co_return co_await Sleep(ctx, hours(1)); }

Async<absl::Status> SpawnKeepAlive(Group& group) {
  absl::Status spawned = co_await group.Spawn("keep-alive", KeepAlive);
  co_await Yield();
  co_return spawned;
}

// A user of a service opens a session in the service's scope,
using User = Async<absl::Status> (*)(Context ctx, Spawner service);

Async<absl::Status> LeaveOpen(Context ctx, Spawner service) {
  const leak::Mark before = co_await leak::MarkThisRoot();
  absl::Status spawned = service.TrySpawn("keep-alive", KeepAlive);
  const std::vector<leak::LiveTask> leaks = leak::Verify(before);
  EXPECT_THAT(leaks, ElementsAre(Named("keep-alive")));
  std::ostringstream text;
  for (const leak::LiveTask& task : leaks) text << task;
  const std::string id = std::to_string(ctx.executor().registry().last_id());
  EXPECT_THAT(text.str(), MatchesRegex("task " + id +
                                       " .(runnable|timer). keep-alive,.* spawned at "
                                       ".*leak_test.cc:[0-9]+ by task 1"));
  co_return spawned;
}

Async<absl::Status> LeaveOpenFromTwoScopesBelow(Context ctx, Spawner service) {
  auto body = [](Group& group, Spawner of) -> Async<absl::Status> {
    auto inner = [](Context child, Spawner from) -> Async<absl::Status> {
      auto user = [](Group& users, Spawner last) -> Async<absl::Status> {
        co_return co_await users.Spawn("user", LeaveOpen, last);
      };
      GroupResult result = co_await WithGroup(child, GroupOptions(), user, from);
      co_return result.status;
    };
    co_return co_await group.Spawn("inner", inner, of);
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, service);
  co_return result.status;
}

// or in a scope of its own, which it cancels.
Async<absl::Status> OpenAndClose(Context ctx, Spawner) {
  const leak::Mark before = co_await leak::MarkThisRoot();
  const CancelScope scope(ctx);
  auto body = [](Group& group, const CancelScope* own) -> Async<absl::Status> {
    absl::Status spawned = co_await SpawnKeepAlive(group);
    own->Cancel("closed");
    co_return spawned;
  };
  GroupResult closed = co_await WithGroup(scope.context(), GroupOptions(), body, &scope);
  closed.status.IgnoreError();  // cancelled, as it should be
  EXPECT_THAT(leak::Verify(before), IsEmpty());
  co_return absl::OkStatus();
}

Async<absl::Status> Serve(Group& group, User user) {
  const CancelScope scope(group.context());
  auto body = [](Group& service, const CancelScope* own, User with) -> Async<absl::Status> {
    absl::Status spawned = co_await service.Spawn("there before", KeepAlive);
    if (!spawned.ok()) co_return spawned;
    auto use = [](Group& users, Spawner of, User by) -> Async<absl::Status> {
      co_return co_await users.Spawn("user", by, of);
    };
    GroupResult used =
        co_await WithGroup(service.context(), GroupOptions(), use, Spawner(service), with);
    own->Cancel("the service ends");
    co_return used.status;
  };
  GroupResult served = co_await WithGroup(scope.context(), GroupOptions(), body, &scope, user);
  EXPECT_TRUE(absl::IsCancelled(served.status)) << served.status;
  co_return absl::OkStatus();
}

SEEDED_TEST(LeakTest, ASessionThatStaysOpenInAScopeFurtherOutIsNamed) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Serve, LeaveOpen);
  EXPECT_THAT(leak::Verify(leak::Mark::OfProcess()), IsEmpty());
  co_return result.status;
}

SEEDED_TEST(LeakTest, ASessionIsNamedHoweverFarBelowTheRootItWasOpened) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Serve, LeaveOpenFromTwoScopesBelow);
  co_return result.status;
}

SEEDED_TEST(LeakTest, ASessionThatIsClosedIsNoLeak) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Serve, OpenAndClose);
  co_return result.status;
}

// The other root of the same executor.
Async<absl::Status> LiveNextDoor(Context ctx, Receiver<int> begin, Sender<int> begun,
                                 Receiver<int> end) {
  auto body = [](Group& group, Receiver<int> go, Sender<int> gone,
                 Receiver<int> until) -> Async<absl::Status> {
    absl::StatusOr<int> told = co_await go.Receive(group.context());
    auto wait = [](Context child, Receiver<int> over) -> Async<absl::Status> {
      absl::StatusOr<int> ended = co_await over.Receive(child);
      co_return ended.status();
    };
    absl::Status spawned = co_await group.Spawn("the neighbour's", wait, until);
    absl::Status sent = co_await gone.Send(group.context(), 1);
    co_return told.ok() && spawned.ok() ? sent : spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, begin, begun, end);
  co_return result.status;
}

Async<absl::Status> LookBesideOthers(Context ctx, Sender<int> begin, Receiver<int> begun,
                                     Sender<int> end) {
  const leak::Mark here = co_await leak::MarkThisRoot();
  const leak::Mark everywhere = leak::Mark::OfProcess();
  absl::Status sent = co_await begin.Send(ctx, 1);
  absl::StatusOr<int> told = co_await begun.Receive(ctx);
  EXPECT_TRUE(sent.ok() && told.ok());
  EXPECT_THAT(leak::Verify(here), IsEmpty());
  EXPECT_THAT(leak::Verify(everywhere), testing::Contains(Named("the neighbour's")));
  co_return co_await end.Send(ctx, 1);
}

TEST(LeakTest, WhatOtherRootsLeaveOpenIsNotOurs) {
  ThreadExecutor executor(2);
  auto [begin, begins] = MakeChannel<int>(1);
  auto [begun, begins_there] = MakeChannel<int>(1);
  auto [end, ends] = MakeChannel<int>(1);
  absl::Status there;
  std::thread neighbour([&, go = begins, gone = begun, until = ends] {
    there = executor.Run(
        "neighbour", [&](Context ctx) { return LiveNextDoor(std::move(ctx), go, gone, until); });
  });
  absl::Status here =
      executor.Run("us", [&, go = begin, gone = begins_there, until = end](Context ctx) {
        return LookBesideOthers(std::move(ctx), go, gone, until);
      });
  neighbour.join();
  EXPECT_TRUE(here.ok()) << here;
  EXPECT_TRUE(there.ok()) << there;
}

// Goes on for `time`, whatever is cancelled.
Async<absl::Status> CleanUp(Context ctx, seconds time) {
  const CancelScope shielded = CancelScope::Shielded(ctx, hours(1), "clean-up");
  co_return co_await Sleep(shielded.context(), time);
}

Async<absl::Status> CancelAndLook(Group& group, const CancelScope* scope) {
  absl::Status stubborn = co_await group.Spawn("stubborn", CleanUp, seconds(300));
  absl::Status obedient = co_await group.Spawn("obedient", KeepAlive);
  co_await Yield();
  EXPECT_THAT(leak::Stuck(seconds(0)), IsEmpty()) << "nothing is cancelled";
  scope->Cancel("over");
  absl::Status waited = co_await CleanUp(group.context(), seconds(30));
  EXPECT_THAT(leak::Stuck(minutes(1)), IsEmpty()) << "within its grace";
  const std::vector<leak::LiveTask> stuck = leak::Stuck(seconds(20));
  EXPECT_THAT(stuck, ElementsAre(Named("stubborn")));
  EXPECT_EQ(stuck.front().doing, "timer");
  if (!waited.ok()) co_return waited;
  co_return stubborn.ok() ? obedient : stubborn;
}

SEEDED_TEST(LeakTest, WhatACancelDoesNotEndIsStuckAfterItsGrace) {
  const CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), CancelAndLook, &scope);
  EXPECT_THAT(leak::Stuck(seconds(0)), IsEmpty()) << "it has ended";
  EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  co_return absl::OkStatus();
}

// A task of a scope that is opened after the cancel is as late as that.
SEEDED_TEST(LeakTest, TheCancelCountsFromTheScopeFurthestOut) {
  const CancelScope scope(ctx);
  scope.Cancel("over");
  absl::Status slept = co_await Sleep(ctx, seconds(40));
  const CancelScope inner(scope.context());
  EXPECT_TRUE(inner.context().cancelled());
  EXPECT_EQ(inner.context().node().cancel_time(), scope.context().node().cancel_time());
  EXPECT_EQ(inner.context().node().cancel_time(), ctx.Now() - seconds(40));
  EXPECT_EQ(ctx.node().cancel_time(), kNever);
  co_return slept;
}

TEST(LeakTest, ALiveTaskIsOneLine) {
  leak::LiveTask task;
  task.id = 2;
  task.doing = "timer";
  task.name = "name\nforged";
  task.spawned_at = "a.cc:1";
  std::ostringstream text;
  text << task;
  EXPECT_EQ(text.str(), "task 2 [timer] name forged, started at a.cc:1");
}

class Fixture : public LeakFreeTest {
 public:
  using LeakFreeTest::FindLeaks;
  using LeakFreeTest::TearDown;
  void TestBody() override {}
};

Async<absl::Status> MakeFixtures(Context ctx, std::vector<std::string>* names) {
  Fixture before;
  EXPECT_THAT(before.FindLeaks(), IsEmpty()) << "this task was there before";
  auto body = [](Group& group, Fixture* fixture,
                 std::vector<std::string>* found) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("left behind", CleanUp, seconds(0));
    for (const leak::LiveTask& task : fixture->FindLeaks()) found->push_back(task.name);
    EXPECT_NONFATAL_FAILURE(fixture->TearDown(), "leaked: task");
    co_return spawned;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &before, names);
  EXPECT_THAT(before.FindLeaks(), IsEmpty());
  before.TearDown();
  co_return result.status;
}

SEEDED_TEST(LeakFreeTest, NamesWhatATestLeavesBehind) {
  std::vector<std::string> names;
  absl::Status status = co_await MakeFixtures(ctx, &names);
  EXPECT_THAT(names, ElementsAre("left behind"));
  co_return status;
}

}  // namespace
}  // namespace nursery
