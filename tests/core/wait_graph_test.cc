#include "nursery/core/wait_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/channel.h"
#include "nursery/core/dump.h"
#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::vector<std::string> Names(const std::vector<leak::LiveTask>& tasks) {
  std::vector<std::string> names;
  for (const leak::LiveTask& task : tasks) names.push_back(task.name);
  return names;
}

using Body = Async<absl::Status> (*)(Group& group);

// What the graph is when all tasks of `body` have come as far as they can; then they are cancelled.
Async<absl::Status> Look(Context ctx, Body body, WaitGraph* graph) {
  auto watch = [](Group& group, Body of, WaitGraph* found) -> Async<absl::Status> {
    auto run = [](Context child, Body inner) -> Async<absl::Status> {
      GroupResult result = co_await WithGroup(child, GroupOptions(), inner);
      co_return result.status;
    };
    absl::Status spawned = co_await group.Spawn("opener", run, of);
    if (!spawned.ok()) co_return spawned;
    absl::Status slept = co_await Sleep(group.context(), seconds(1));
    if (!slept.ok()) co_return slept;
    *found = FindWaitCycles();
    co_return absl::CancelledError("looked");
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), watch, body, graph);
  EXPECT_EQ(Message(result.status), "looked");
  co_return absl::OkStatus();
}

#define EXPECT_QUIET(graph) EXPECT_EQ(FormatWaitGraph(graph), "")

struct TwoSemaphores {
  Semaphore one{1};
  Semaphore two{1};
};

Async<absl::Status> TakeBoth(Context ctx, Semaphore* first, Semaphore* second) {
  absl::StatusOr<Permit> held = co_await first->Acquire(ctx);
  if (!held.ok()) co_return held.status();
  absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(1));
  if (!slept.ok()) co_return slept;
  absl::StatusOr<Permit> both = co_await second->Acquire(ctx);
  co_return both.status();
}

Async<absl::Status> TakeInOrders(Group& group, bool crosswise) {
  TwoSemaphores semaphores;
  auto body = [](Group& inner, TwoSemaphores* of, bool crossed) -> Async<absl::Status> {
    absl::Status left = co_await inner.Spawn("left", TakeBoth, &of->one, &of->two);
    Semaphore* first = crossed ? &of->two : &of->one;
    Semaphore* second = crossed ? &of->one : &of->two;
    absl::Status right = co_await inner.Spawn("right", TakeBoth, first, second);
    co_return left.ok() ? right : left;
  };
  GroupResult result =
      co_await WithGroup(group.context(), GroupOptions(), body, &semaphores, crosswise);
  co_return result.status;
}

SEEDED_TEST(WaitGraphTest, TwoThatTakePermitsInDifferentOrdersAreACycle) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    co_return co_await TakeInOrders(group, true);
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(graph.cycles, SizeIs(1));
  if (graph.cycles.size() != 1) co_return looked;
  EXPECT_THAT(Names(graph.cycles[0]), UnorderedElementsAre("left", "right"));
  // And whoever joins them.
  EXPECT_THAT(Names(graph.unreachable), ElementsAre("opener", "left", "right"));
  EXPECT_THAT(FormatWaitGraph(graph),
              ContainsRegex("wait cycle of 2 tasks:\n    task [0-9]+ .semaphore. (left|right), at "
                            ".*, waits for task [0-9]+\n"));
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, TheDumpOfWhatIsStuckNamesCycles) {
  std::string text;
  auto body = [](Group& group, std::string* dump) -> Async<absl::Status> {
    auto cross = [](Context child) -> Async<absl::Status> {
      auto inner = [](Group& scope) -> Async<absl::Status> {
        co_return co_await TakeInOrders(scope, true);
      };
      GroupResult result = co_await WithGroup(child, GroupOptions(), inner);
      co_return result.status;
    };
    absl::Status spawned = co_await group.Spawn("opener", cross);
    EXPECT_EQ(DumpStuckTasks(), "0 tasks\n");
    absl::Status slept = co_await Sleep(group.context(), seconds(1));
    *dump = DumpStuckTasks();
    co_return spawned.ok() && slept.ok() ? absl::CancelledError("looked") : slept;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &text);
  EXPECT_EQ(Message(result.status), "looked");
  EXPECT_THAT(text, ContainsRegex("0 tasks\nwait cycle of 2 tasks:\n"));
  EXPECT_THAT(text, ContainsRegex("\n3 tasks that nothing can wake:\n"));
  co_return absl::OkStatus();
}

SEEDED_TEST(WaitGraphTest, TwoThatTakePermitsInOneOrderAreNone) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    co_return co_await TakeInOrders(group, false);
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_QUIET(graph);
  co_return looked;
}

Async<absl::Status> Receive(Context ctx, Receiver<int> receiver, Sender<int>) {
  absl::StatusOr<int> got = co_await receiver.Receive(ctx);
  co_return got.status();
}

SEEDED_TEST(WaitGraphTest, TwoThatEachHoldTheSenderOfTheOtherAreACycle) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [one_sender, one] = MakeChannel<int>(0);
    auto [two_sender, two] = MakeChannel<int>(0);
    absl::Status left = co_await group.Spawn("left", Receive, one, two_sender);
    absl::Status right = co_await group.Spawn("right", Receive, two, one_sender);
    co_return left.ok() ? right : left;
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(graph.cycles, SizeIs(1));
  EXPECT_THAT(Names(graph.unreachable), ElementsAre("opener", "left", "right"));
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, AReceiverThatHoldsTheOnlySenderWaitsForItself) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::StatusOr<int> never = co_await receiver.Receive(group.context());
    co_return never.status();
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(graph.cycles, ElementsAre(SizeIs(1)));
  EXPECT_THAT(Names(graph.unreachable), ElementsAre("opener"));
  co_return looked;
}

Async<absl::Status> SendInAnHour(Context ctx, const Sender<int>* sender) {
  absl::Status slept = co_await Sleep(ctx, std::chrono::hours(1));
  if (!slept.ok()) co_return slept;
  co_return co_await sender->Send(ctx, 1);
}

SEEDED_TEST(WaitGraphTest, AReceiverWhoseChildCanStillSendWithItsSenderIsNone) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    absl::Status spawned = co_await group.Spawn("sender", SendInAnHour, &sender);
    absl::StatusOr<int> got = co_await receiver.Receive(group.context());
    co_return spawned.ok() ? got.status() : spawned;
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_QUIET(graph);
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, AReceiverWhoseSenderLiesElsewhereIsNone) {
  WaitGraph graph;
  static std::optional<Sender<int>> elsewhere;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    elsewhere.emplace(std::move(sender));
    absl::StatusOr<int> got = co_await receiver.Receive(group.context());
    co_return got.status();
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  elsewhere.reset();
  EXPECT_QUIET(graph);
  co_return looked;
}

Async<absl::Status> SendTwo(Context ctx, Sender<int> sender) {
  absl::Status first = co_await sender.Send(ctx, 1);
  if (!first.ok()) co_return first;
  co_return co_await sender.Send(ctx, 2);
}

// The body joins what waits for the body to receive.
SEEDED_TEST(WaitGraphTest, ASenderWhoseReceiverJoinsItIsACycle) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(1);
    auto inner = [](Group& scope, Sender<int> of) -> Async<absl::Status> {
      co_return co_await scope.Spawn("sender", SendTwo, std::move(of));
    };
    GroupResult result =
        co_await WithGroup(group.context(), GroupOptions(), inner, std::move(sender));
    co_return result.status;
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(graph.cycles, ElementsAre(SizeIs(2)));
  EXPECT_THAT(Names(graph.unreachable), ElementsAre("opener", "sender"));
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, ASelectWaitsForNobodyAsLongAsOneOfItsCasesMayCome) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    auto [mine, never] = MakeChannel<int>(0);
    auto [theirs, maybe] = MakeChannel<int>(0);
    absl::Status spawned = co_await group.Spawn("sender", SendInAnHour, &theirs);
    ReceiveCase<int> one(never);
    ReceiveCase<int> two(maybe);
    absl::StatusOr<size_t> ready = co_await Select(group.context(), one, two);
    co_return spawned.ok() ? ready.status() : spawned;
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_QUIET(graph);
  co_return looked;
}

Async<absl::Status> Take(Context ctx, Semaphore* semaphore, int64_t weight) {
  absl::StatusOr<Permit> permit = co_await semaphore->Acquire(ctx, weight);
  co_return permit.status();
}

// Holds its permit by SpawnWith, and takes another.
Async<absl::Status> SpawnHolder(Group& group, int64_t size) {
  Semaphore semaphore(size);
  auto body = [](Group& inner, Semaphore* of) -> Async<absl::Status> {
    absl::StatusOr<Permit> permit = co_await of->Acquire(inner.context());
    if (!permit.ok()) co_return permit.status();
    co_return co_await inner.SpawnWith(*std::move(permit), "holder", Take, of, 1);
  };
  GroupResult result = co_await WithGroup(group.context(), GroupOptions(), body, &semaphore);
  co_return result.status;
}

SEEDED_TEST(WaitGraphTest, ATaskThatWasSpawnedWithAPermitHoldsIt) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> { co_return co_await SpawnHolder(group, 1); };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(graph.cycles,
              ElementsAre(ElementsAre(testing::Field(&leak::LiveTask::name, "holder"))));
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, APermitThatWasMovedMayBeGivenBackByAnybody) {
  WaitGraph graph;
  static std::optional<Permit> elsewhere;
  static Semaphore semaphore(1);
  auto body = [](Group& group) -> Async<absl::Status> {
    absl::StatusOr<Permit> permit = co_await semaphore.Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    elsewhere.emplace(*std::move(permit));
    co_return co_await Take(group.context(), &semaphore, 1);
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  elsewhere.reset();
  EXPECT_QUIET(graph);
  co_return looked;
}

Async<absl::Status> TakeLater(Context ctx, Semaphore* semaphore) {
  absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(1));
  if (!slept.ok()) co_return slept;
  co_return co_await Take(ctx, semaphore, 1);
}

// The one at the head waits for itself; what is free would do for the one behind.
SEEDED_TEST(WaitGraphTest, WhoStandsBehindOneThatNothingWakesIsNotWokenEither) {
  WaitGraph graph;
  auto body = [](Group& group) -> Async<absl::Status> {
    Semaphore semaphore(2);
    auto holder = [](Group& inner, Semaphore* of) -> Async<absl::Status> {
      absl::StatusOr<Permit> permit = co_await of->Acquire(inner.context());
      if (!permit.ok()) co_return permit.status();
      absl::Status spawned = co_await inner.Spawn("small", TakeLater, of);
      if (!spawned.ok()) co_return spawned;
      co_return co_await Take(inner.context(), of, 2);
    };
    GroupResult result = co_await WithGroup(group.context(), GroupOptions(), holder, &semaphore);
    co_return result.status;
  };
  absl::Status looked = co_await Look(ctx, body, &graph);
  EXPECT_THAT(Names(graph.unreachable), ElementsAre("opener", "small"));
  co_return looked;
}

SEEDED_TEST(WaitGraphTest, ASpawnThatWaitsForAPlaceOfOneThatNothingWakesIsInTheCycle) {
  for (const bool wakes : {false, true}) {
    WaitGraph graph;
    static bool sleeps;
    sleeps = wakes;
    auto body = [](Group& group) -> Async<absl::Status> {
      auto [sender, receiver] = MakeChannel<int>(0);
      GroupOptions one;
      one.limit = 1;
      auto inner = [](Group& scope, const Sender<int>* own,
                      Receiver<int> of) -> Async<absl::Status> {
        absl::Status first = sleeps ? scope.TrySpawn("first", SendInAnHour, own)
                                    : scope.TrySpawn("first", Receive, of, Sender<int>(*own));
        auto nothing = [](Context child) -> Async<absl::Status> { co_return child.status(); };
        absl::Status second = co_await scope.Spawn("second", nothing);
        co_return first.ok() ? second : first;
      };
      GroupResult result =
          co_await WithGroup(group.context(), one, inner, &sender, std::move(receiver));
      co_return result.status;
    };
    absl::Status looked = co_await Look(ctx, body, &graph);
    if (!looked.ok()) co_return looked;
    EXPECT_THAT(Names(graph.unreachable),
                wakes ? testing::Matcher<std::vector<std::string>>(IsEmpty())
                      : ElementsAre("opener", "first"));
  }
  co_return absl::OkStatus();
}

// Whenever one is looked at, it mostly waits for the other.
Async<absl::Status> Bounce(Context ctx, Receiver<int> in, Sender<int> out,
                           const std::atomic<bool>* stop) {
  for (;;) {
    absl::StatusOr<int> got = co_await in.Receive(ctx);
    if (!got.ok()) co_return absl::IsOutOfRange(got.status()) ? absl::OkStatus() : got.status();
    if (stop->load()) co_return absl::OkStatus();
    absl::Status sent = co_await out.Send(ctx, *got);
    if (!sent.ok()) co_return absl::IsFailedPrecondition(sent) ? absl::OkStatus() : sent;
  }
}

Async<absl::Status> BounceWhileLooking(Group& group) {
  std::atomic<bool> stop = false;
  auto body = [](Group& inner, const std::atomic<bool>* until) -> Async<absl::Status> {
    auto [one_sender, one] = MakeChannel<int>(0);
    auto [two_sender, two] = MakeChannel<int>(0);
    absl::Status left = co_await inner.Spawn("left", Bounce, one, two_sender, until);
    absl::Status right = co_await inner.Spawn("right", Bounce, two, one_sender, until);
    absl::Status served = co_await one_sender.Send(inner.context(), 1);
    co_return left.ok() ? right.ok() ? served : right : left;
  };
  auto look = [](Context, std::atomic<bool>* until) -> Async<absl::Status> {
    for (int i = 0; i < 300; ++i) {
      EXPECT_QUIET(FindWaitCycles());
      co_await Yield();
    }
    until->store(true);
    co_return absl::OkStatus();
  };
  absl::Status looks = co_await group.Spawn("look", look, &stop);
  GroupResult result = co_await WithGroup(group.context(), GroupOptions(), body, &stop);
  co_return looks.ok() ? result.status : looks;
}

TEST(WaitGraphStressTest, TasksThatMoveAreNeverTakenForACycle) {
  ThreadExecutor executor(2);
  absl::Status status = executor.Run("test", [](Context ctx) -> Async<absl::Status> {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), BounceWhileLooking);
    co_return result.status;
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
