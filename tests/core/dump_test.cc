#include "nursery/core/dump.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <new>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/testing/leak_check.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

Async<absl::Status> WaitForPermit(Context ctx, Semaphore* semaphore) {
  absl::StatusOr<Permit> permit = co_await semaphore->Acquire(ctx);
  co_return permit.status();
}

Async<absl::Status> DumpWhileWaiting(Group& group, Semaphore* semaphore, std::string* text) {
  absl::Status spawned = co_await group.Spawn("loader", WaitForPermit, semaphore);
  absl::Status slept = co_await Sleep(group.context(), seconds(132));
  *text = group.context().executor().Dump();
  co_return spawned.ok() ? slept : spawned;
}

SEEDED_TEST(DumpTest, TellsStateReasonAgeDeadlineLineAndParents) {
  Semaphore semaphore(1);
  std::optional<Permit> taken = semaphore.TryAcquire();
  std::string text;
  CancelScope scope(ctx, ctx.Now() + seconds(600), "job");
  auto release = [](Group& group, Semaphore* of, std::string* dump,
                    std::optional<Permit>* permit) -> Async<absl::Status> {
    absl::Status dumped = co_await DumpWhileWaiting(group, of, dump);
    permit->reset();
    co_return dumped;
  };
  GroupResult result =
      co_await WithGroup(scope.context(), GroupOptions(), release, &semaphore, &text, &taken);
  EXPECT_THAT(text, HasSubstr("2 tasks\n"));
  EXPECT_THAT(
      text,
      ContainsRegex("task 2 .semaphore, 2m 12s. loader  age 2m 12s  deadline in 7m 48s  on 0x"));
  EXPECT_THAT(text, ContainsRegex("    at .*tests/core/dump_test.cc:[0-9]+\n"));
  EXPECT_THAT(text, ContainsRegex("    spawned at .*dump_test.cc:[0-9]+ by task 1\n"));
  EXPECT_THAT(text, ContainsRegex("task 1 .running, "));
  EXPECT_THAT(text, ContainsRegex("    started at .*seeds.cc:[0-9]+ as test\n"));
  co_return result.status;
}

SEEDED_TEST(DumpTest, CountsByStateAndReason) {
  auto body = [](Group& group) -> Async<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      auto sleeper = [](Context child) -> Async<absl::Status> {
        co_return co_await Sleep(child, seconds(5));
      };
      absl::Status spawned = co_await group.Spawn("sleeper", sleeper);
      if (!spawned.ok()) co_return spawned;
    }
    absl::Status slept = co_await Sleep(group.context(), seconds(1));
    const TaskStats stats = group.context().executor().Stats();
    EXPECT_EQ(stats.live, 4);
    EXPECT_EQ(stats.by_reason[static_cast<int>(WaitReason::kTimer)], 3);
    EXPECT_EQ(stats.by_state[static_cast<int>(TaskState::kWaiting)], 3);
    EXPECT_EQ(stats.by_state[static_cast<int>(TaskState::kRunning)], 1);
    co_return slept;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  co_return result.status;
}

constexpr int kBrief = 600;  // more than two batches: a walk stops at tasks that end

// Comes and goes until it is told to stop.
Async<absl::Status> Churn(Context ctx, const std::atomic<bool>* stop) {
  while (!stop->load()) {
    auto body = [](Group& group) -> Async<absl::Status> {
      auto nothing = [](Context child) -> Async<absl::Status> { co_return child.status(); };
      for (int i = 0; i < kBrief; ++i) {
        absl::Status spawned = co_await group.Spawn("brief", nothing);
        if (!spawned.ok()) co_return spawned;
      }
      co_return absl::OkStatus();
    };
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
    if (!result.status.ok()) co_return result.status;
    co_await Yield();
  }
  co_return absl::OkStatus();
}

int64_t CountNamed(const internal::TaskSnapshot& snapshot, std::string_view name) {
  return std::count_if(snapshot.tasks.begin(), snapshot.tasks.end(),
                       [name](const internal::TaskEntry& task) { return task.name == name; });
}

void ExpectWhole(const internal::TaskSnapshot& snapshot) {
  uint64_t last = 0;
  for (const internal::TaskEntry& task : snapshot.tasks) {
    EXPECT_GT(task.id, last) << "twice, or out of order";
    last = task.id;
    EXPECT_TRUE(task.parent_id == 0 || snapshot.Find(task.parent_id) != nullptr) << task.parent_id;
    EXPECT_LT(static_cast<int>(task.state), kTaskStateCount);
    EXPECT_LT(static_cast<int>(task.reason), kWaitReasonCount);
    EXPECT_EQ(task.reason != WaitReason::kNone,
              task.state == TaskState::kWaiting || task.state == TaskState::kBlocking);
    EXPECT_LE(task.spawned, snapshot.taken);
    EXPECT_LE(task.since, snapshot.taken);
  }
}

void ExpectWhole(const TaskStats& stats, int64_t at_least) {
  EXPECT_GE(stats.live, at_least);
  EXPECT_GE(stats.created, stats.live);
  EXPECT_EQ(std::accumulate(stats.by_state.begin(), stats.by_state.end(), int64_t{0}), stats.live);
  EXPECT_EQ(std::accumulate(stats.by_reason.begin(), stats.by_reason.end(), int64_t{0}),
            stats.live);
}

constexpr int kParked = 3000;  // more than a batch or two

struct Parking {
  Semaphore semaphore{1};
  std::optional<Permit> taken = semaphore.TryAcquire();
  std::atomic<bool> stop = false;
};

Async<absl::Status> DumpWhileTasksComeAndGo(Group& group, Parking* parking) {
  absl::Status spawned = absl::OkStatus();
  for (int i = 0; i < kParked && spawned.ok(); ++i) {
    spawned = co_await group.Spawn("parked", WaitForPermit, &parking->semaphore);
  }
  for (int i = 0; i < 3 && spawned.ok(); ++i) {
    spawned = co_await group.Spawn("churn", Churn, &parking->stop);
  }
  for (int i = 0; i < 30; ++i) {
    const internal::TaskSnapshot snapshot = group.context().executor().registry().Snapshot();
    EXPECT_EQ(CountNamed(snapshot, "parked"), kParked);
    EXPECT_EQ(CountNamed(snapshot, "churn"), 3);
    EXPECT_EQ(CountNamed(snapshot, "main"), 1);
    ExpectWhole(snapshot);
    ExpectWhole(group.context().executor().Stats(), kParked + 4);
    co_await Yield();
  }
  parking->stop.store(true);
  parking->taken.reset();
  co_return spawned;
}

Async<absl::Status> RunParking(Context ctx, Parking* parking) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), DumpWhileTasksComeAndGo, parking);
  co_return result.status;
}

TEST(DumpTest, WhatLivesThroughADumpIsInItOnceWithItsParentsWhileOthersComeAndGo) {
  ThreadExecutor executor(3);
  Parking parking;
  absl::Status status = executor.Run(
      "main", [&parking](Context ctx) { return RunParking(std::move(ctx), &parking); });
  EXPECT_TRUE(status.ok()) << status;
}

Async<absl::Status> Look(Context ctx) {
  for (int i = 0; i < 100; ++i) {
    ExpectWhole(ctx.executor().registry().Snapshot());
    ExpectWhole(ctx.executor().Stats(), 3);  // with the churn and the root
    co_await Yield();
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnLookers(Group& group) {
  absl::Status first = co_await group.Spawn("looker", Look);
  absl::Status second = co_await group.Spawn("looker", Look);
  co_return first.ok() ? second : first;
}

Async<absl::Status> LookWhileTasksComeAndGo(Group& group, std::atomic<bool>* stop) {
  absl::Status spawned = co_await group.Spawn("churn", Churn, stop);
  GroupResult looked = co_await WithGroup(group.context(), GroupOptions(), SpawnLookers);
  stop->store(true);
  co_return spawned.ok() ? looked.status : spawned;
}

Async<absl::Status> RunLookers(Context ctx, std::atomic<bool>* stop) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), LookWhileTasksComeAndGo, stop);
  co_return result.status;
}

// A task at which two walks stand ends: both go on.
TEST(DumpTest, ManyMayDumpAtOnce) {
  ThreadExecutor executor(3);
  std::atomic<bool> stop = false;
  absl::Status status =
      executor.Run("main", [&stop](Context ctx) { return RunLookers(std::move(ctx), &stop); });
  EXPECT_TRUE(status.ok()) << status;
}

using internal::TaskRecord;
using internal::TaskRegistry;

// Ends when its gate opens.
struct Gated {
  Semaphore gate{1};
  std::optional<Permit> closed = gate.TryAcquire();
  uint64_t id = 0;
};

Async<absl::Status> SpawnGated(Group& group, std::vector<Gated>* tasks) {
  absl::Status spawned = absl::OkStatus();
  for (Gated& task : *tasks) {
    spawned = co_await group.Spawn("gated", WaitForPermit, &task.gate);
    if (!spawned.ok()) co_return spawned;
    task.id = group.context().executor().registry().last_id();
  }
  co_return spawned;
}

// Two walks, a few tasks at a time, while others end and start in between.
Async<absl::Status> WalkWhileTasksEnd(Group& group, std::vector<Gated>* tasks,
                                      SeededExecutor* executor) {
  absl::Status spawned = co_await SpawnGated(group, tasks);
  TaskRegistry& registry = executor->registry();
  TaskRegistry::Walk walks[] = {TaskRegistry::Walk(registry), TaskRegistry::Walk(registry)};
  std::vector<uint64_t> seen[2];
  std::set<uint64_t> ended;
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < 2; ++i) {
      const auto note = [&](const TaskRecord& task) {
        EXPECT_FALSE(ended.contains(task.id));
        seen[i].push_back(task.id);
      };
      more |= walks[i].Next(note, 1 + static_cast<int>(executor->Random(3)));
    }
    Gated& task = (*tasks)[executor->Random(tasks->size())];
    task.closed.reset();
    // It has ended when the group has.
    while (registry.live() > 1 + std::count_if(tasks->begin(), tasks->end(), [](const Gated& each) {
                               return each.closed.has_value();
                             })) {
      co_await Yield();
    }
    ended.insert(task.id);
  }
  for (std::vector<uint64_t>& ids : seen) {
    EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
    for (const Gated& task : *tasks) {
      if (!ended.contains(task.id)) EXPECT_THAT(ids, testing::Contains(task.id));
    }
  }
  for (Gated& task : *tasks) task.closed.reset();
  co_return spawned;
}

SEEDED_TEST(DumpTest, AWalkGoesOnWhereTheTaskAtWhichItStandsEnds) {
  std::vector<Gated> tasks(12);
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), WalkWhileTasksEnd, &tasks, &executor);
  co_return result.status;
}

Async<absl::Status> SpawnWhileWalking(Group& group, std::vector<Gated>* before,
                                      std::vector<Gated>* after) {
  absl::Status spawned = co_await SpawnGated(group, before);
  TaskRegistry& registry = group.context().executor().registry();
  TaskRegistry::Walk walk(registry);
  if (spawned.ok()) spawned = co_await SpawnGated(group, after);
  int64_t seen = 0;
  walk.Rest([&seen](const TaskRecord&) { ++seen; });
  EXPECT_EQ(seen, 1 + static_cast<int64_t>(before->size()));
  EXPECT_EQ(walk.live(), seen) << "what a snapshot makes room for";
  EXPECT_EQ(registry.live(), seen + static_cast<int64_t>(after->size()));
  for (Gated& task : *before) task.closed.reset();
  for (Gated& task : *after) task.closed.reset();
  co_return spawned;
}

SEEDED_TEST(DumpTest, AWalkLeavesOutWhatIsSpawnedAfterItsBeginning) {
  std::vector<Gated> before(3);
  std::vector<Gated> after(4);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnWhileWalking, &before, &after);
  co_return result.status;
}

// A look has the lock of where the walk stands: to spawn must not need it.
Async<absl::Status> SpawnUnderALook(Group& group) {
  TaskRegistry& registry = group.context().executor().registry();
  absl::Status spawned;
  registry.ForEachTask([&](const TaskRecord&) {
    auto nothing = [](Context ctx) -> Async<absl::Status> { co_return ctx.status(); };
    if (spawned.ok()) spawned = group.TrySpawn("meanwhile", nothing);
  });
  EXPECT_EQ(registry.live(), 2);
  co_return spawned;
}

SEEDED_TEST(DumpTest, WhoSpawnsDoesNotWaitForAWalk) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnUnderALook);
  EXPECT_EQ(result.succeeded, 1);
  co_return result.status;
}

Async<absl::Status> LookAndThrow(Group& group, std::vector<Gated>* tasks) {
  absl::Status spawned = co_await SpawnGated(group, tasks);
  TaskRegistry& registry = group.context().executor().registry();
  int seen = 0;
  const auto count_to_three = [&seen](const TaskRecord&) {
    if (++seen == 3) throw std::bad_alloc();
  };
  EXPECT_THROW(registry.ForEachTask(count_to_three), std::bad_alloc);
  EXPECT_EQ(std::ssize(registry.Snapshot().tasks), 1 + std::ssize(*tasks));
  // Ends first where the walk stood.
  for (Gated& task : *tasks) task.closed.reset();
  co_return spawned;
}

SEEDED_TEST(DumpTest, ALookThatThrowsEndsItsWalk) {
  std::vector<Gated> tasks(5);
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), LookAndThrow, &tasks);
  co_return result.status;
}

internal::TaskEntry EntryNamed(std::string name) {
  internal::TaskEntry entry;
  entry.id = 7;
  entry.name = std::move(name);
  entry.state = TaskState::kWaiting;
  entry.reason = WaitReason::kTimer;
  entry.since = Time(seconds(8));
  entry.spawned = Time(seconds(5));
  entry.spawn_site = std::source_location::current();
  return entry;
}

internal::TaskSnapshot SnapshotOf(internal::TaskEntry entry) {
  internal::TaskSnapshot snapshot;
  snapshot.taken = Time(seconds(10));
  snapshot.tasks.push_back(std::move(entry));
  return snapshot;
}

TEST(DumpTest, JsonHasTheFieldsAndTimesInSeconds) {
  internal::TaskEntry entry = EntryNamed("sleeper");
  entry.parent_id = 3;
  entry.deadline = Time(seconds(70));
  entry.cancel_time = Time(seconds(9));
  const std::string text = internal::RenderJson({SnapshotOf(entry)});
  EXPECT_THAT(text, testing::StartsWith("{\"executors\":[\n{\"tasks\":[\n{\"id\":7,"
                                        "\"parent_id\":3,\"name\":\"sleeper\","
                                        "\"state\":\"waiting\",\"reason\":\"timer\","
                                        "\"spawn_site\":\""));
  EXPECT_THAT(text, testing::EndsWith("\"state_seconds\":2.000000,\"age_seconds\":5.000000,"
                                      "\"deadline_seconds\":60.000000,"
                                      "\"cancelled_seconds\":1.000000,"
                                      "\"cancelled\":true}]}]}\n"));
  EXPECT_EQ(internal::RenderJson({}), "{\"executors\":[]}\n");
}

TEST(DumpTest, ANameForgesNoLineOfTheText) {
  internal::TaskSnapshot snapshot = SnapshotOf(EntryNamed("root\n\ntask 9 [timer, 1s] forged"));
  internal::TaskEntry child = EntryNamed("a\tb\x7f\n    started at x.cc:1");
  child.id = 8;
  child.parent_id = 7;
  snapshot.tasks.push_back(std::move(child));
  const std::string text = internal::RenderText(snapshot);
  EXPECT_THAT(text, HasSubstr("\ntask 7 [timer, 2.00s] root  task 9 [timer, 1s] forged  age "));
  EXPECT_THAT(text, HasSubstr("\ntask 8 [timer, 2.00s] a b      started at x.cc:1  age "));
  EXPECT_THAT(text, Not(HasSubstr("\ntask 9")));
  EXPECT_THAT(text, Not(HasSubstr("\n    started at x.cc")));
}

TEST(DumpTest, JsonEscapesWhatItMust) {
  const auto quoted = [](std::string name) {
    return internal::RenderJson({SnapshotOf(EntryNamed(std::move(name)))});
  };
  EXPECT_THAT(quoted("a\"b\\c\n\x01"), HasSubstr(R"("name":"a\"b\\c\u000a\u0001")"));
  EXPECT_THAT(quoted("\xc3\xa9 \xf0\x9f\x8c\xb1"),
              HasSubstr("\"name\":\"\xc3\xa9 \xf0\x9f\x8c\xb1\""));
  // Cut short, too long, half a pair, beyond the last, and no beginning.
  const std::string replaced = "\xef\xbf\xbd";
  EXPECT_THAT(quoted("\xc3"), HasSubstr("\"name\":\"" + replaced + "\""));
  EXPECT_THAT(quoted("\xc0\x80"), HasSubstr("\"name\":\"" + replaced + replaced + "\""));
  EXPECT_THAT(quoted("\xed\xa0\x80"),
              HasSubstr("\"name\":\"" + replaced + replaced + replaced + "\""));
  EXPECT_THAT(quoted("\xf4\x90\x80\x80"), HasSubstr("\"name\":\"" + replaced + replaced));
  EXPECT_THAT(quoted("\xff!"), HasSubstr("\"name\":\"" + replaced + "!\""));
}

// Goes on for `time`, whatever is cancelled.
Async<absl::Status> CleanUp(Context ctx, seconds time) {
  const CancelScope shielded = CancelScope::Shielded(ctx, std::chrono::hours(1), "clean-up");
  co_return co_await Sleep(shielded.context(), time);
}

Async<absl::Status> CancelAndLook(Group& group, const CancelScope* scope) {
  absl::Status spawned = co_await group.Spawn("stubborn", CleanUp, seconds(300));
  co_await Yield();
  Executor& executor = group.context().executor();
  EXPECT_EQ(DumpStuckTasks(DumpFormat::kText, seconds(0)), "0 tasks\n");
  scope->Cancel("over");
  absl::Status waited = co_await CleanUp(group.context(), seconds(59));
  EXPECT_EQ(executor.Stats().stuck, 0);
  EXPECT_EQ(DumpStuckTasks(), "0 tasks\n");
  if (waited.ok()) waited = co_await CleanUp(group.context(), seconds(2));
  EXPECT_EQ(executor.Stats().stuck, 1);
  const std::string text = DumpStuckTasks();
  EXPECT_THAT(text, testing::StartsWith("1 tasks\n\ntask 2 [timer, "));
  EXPECT_THAT(text, HasSubstr("] stubborn  age 1m 1s  cancelled"));
  EXPECT_THAT(text, HasSubstr(" by task 1\n    started at "));
  EXPECT_EQ(DumpStuckTasks(DumpFormat::kText, std::chrono::minutes(2)), "0 tasks\n");
  EXPECT_THAT(DumpStuckTasks(DumpFormat::kAggregate), HasSubstr(", cancelled] stubborn\n"));
  EXPECT_THAT(DumpStuckTasks(DumpFormat::kJson), HasSubstr("\"cancelled_seconds\":61.0"));
  co_return spawned.ok() ? waited : spawned;
}

SEEDED_TEST(DumpTest, WhatLivesLongAfterItsCancelIsStuck) {
  const CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), CancelAndLook, &scope);
  EXPECT_EQ(executor.Stats().stuck, 0);
  co_return result.status;
}

TEST(DumpTest, SigquitPrintsTheDumpAndTheProcessLivesOn) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const int saved = dup(STDERR_FILENO);
  std::string text;
  {
    DumpOnSigquit dumper;
    ThreadExecutor executor(1);
    absl::Status status = executor.Run("quitter", [&](Context ctx) {
      return [](Context root, int write_end) -> Async<absl::Status> {
        std::fflush(stderr);
        dup2(write_end, STDERR_FILENO);
        kill(getpid(), SIGQUIT);
        co_return root.status();
      }(std::move(ctx), fds[1]);
    });
    EXPECT_TRUE(status.ok());
    pollfd printed{.fd = fds[0], .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&printed, 1, 10'000), 1);
    char buffer[4096];
    text.assign(buffer, static_cast<size_t>(read(fds[0], buffer, sizeof buffer)));
  }
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(fds[0]);
  close(fds[1]);
  EXPECT_THAT(text, HasSubstr(" tasks\n"));
}

// The leak check must be able to fail.
TEST(LeakCheckTest, NamesWhatWasLeaked) {
  LeakCheck check;
  check.SetUp();
  EXPECT_TRUE(check.FindLeaks().empty());
  const int leaked = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(check.FindLeaks().size(), 1u);
  EXPECT_EQ(check.FindLeaks()[0], "descriptor " + std::to_string(leaked) + " -> /dev/null");
  close(leaked);

  ThreadExecutor executor(1);
  absl::Status status = executor.Run("still here", [&check](Context ctx) {
    return [](Context, const LeakCheck* of) -> Async<absl::Status> {
      // The executor's own descriptors and this task.
      EXPECT_THAT(of->FindLeaks(), testing::Contains(HasSubstr("still here")));
      co_return absl::OkStatus();
    }(std::move(ctx), &check);
  });
  EXPECT_TRUE(status.ok());
}

}  // namespace
}  // namespace nursery
