#include "nursery/core/task_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <string>

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
using testing::HasSubstr;

Async<absl::Status> SleepOneMinute(Context ctx) { co_return co_await Sleep(ctx, seconds(60)); }

// Each has a name of its own, as a job has.
Async<absl::Status> SpawnSleepers(Group& group, std::string name, int count) {
  absl::Status spawned = absl::OkStatus();
  for (int i = 0; i < count && spawned.ok(); ++i) {
    spawned = co_await group.Spawn(name + " " + std::to_string(i), SleepOneMinute);
  }
  co_return spawned;
}

Async<absl::Status> LookAtSleepers(Group& group) {
  absl::Status spawned = co_await SpawnSleepers(group, "job", 3);
  for (int i = 0; i < 2 && spawned.ok(); ++i) {
    spawned = co_await group.Spawn("few", SleepOneMinute);
  }
  if (!spawned.ok()) co_return spawned;
  absl::Status slept = co_await Sleep(group.context(), seconds(5));
  const TaskProfile profile = ProfileAllTasks();
  EXPECT_EQ(profile.tasks, 6);
  EXPECT_EQ(profile.groups.size(), 3u);
  EXPECT_EQ(profile.groups[0].name, "job 0, ...");
  EXPECT_EQ(profile.groups[0].count, 3);
  EXPECT_EQ(profile.groups[0].doing, "timer");
  EXPECT_EQ(profile.groups[0].oldest, seconds(5));
  EXPECT_EQ(profile.groups[0].longest, seconds(5));
  EXPECT_EQ(profile.groups[1].name, "few");
  EXPECT_EQ(profile.groups[1].count, 2);
  EXPECT_EQ(profile.groups[2].doing, "running");
  const std::string text = DumpAllTasks(DumpFormat::kAggregate);
  EXPECT_THAT(text, testing::StartsWith("6 tasks in 3 groups\n\n3 tasks [timer, longest 5.00s, "
                                        "oldest 5.00s] job 0, ...\n    at "));
  EXPECT_THAT(text, ContainsRegex("\n    at .*task_profile_test.cc:[0-9]+\n"
                                  "    spawned at .*task_profile_test.cc:[0-9]+\n"));
  EXPECT_THAT(text, HasSubstr("\n1 task [running, longest 0.0ms, oldest 5.00s] test\n"));
  co_return slept;
}

SEEDED_TEST(TaskProfileTest, CountsLikeTasksTogetherTheMostFirst) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), LookAtSleepers);
  co_return result.status;
}

Async<absl::Status> Grow(Group& group) {
  absl::Status spawned = co_await group.Spawn("both", SleepOneMinute);
  absl::Status slept = co_await Sleep(group.context(), seconds(30));
  const TaskProfile before = ProfileAllTasks();
  if (spawned.ok()) spawned = co_await SpawnSleepers(group, "leak", 3);
  // The one that was there ends.
  if (slept.ok()) slept = co_await Sleep(group.context(), seconds(40));
  const std::vector<SiteGrowth> growth = DiffTaskProfiles(before, ProfileAllTasks());
  EXPECT_EQ(growth.size(), 2u);
  EXPECT_EQ(growth.front().groups.front().group.name, "leak 0, ...");
  EXPECT_EQ(growth.front().before, 0);
  EXPECT_EQ(growth.front().after, 3);
  EXPECT_EQ(growth.back().groups.front().group.name, "both");
  EXPECT_EQ(growth.back().difference(), -1);
  co_return spawned.ok() ? slept : spawned;
}

SEEDED_TEST(TaskProfileTest, TheDifferenceNamesTheLineThatLeaks) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Grow);
  co_return result.status;
}

TaskGroup GroupNamed(std::string name, int64_t count) {
  TaskGroup group;
  group.doing = "semaphore";
  group.name = std::move(name);
  group.at = "a.cc:1";
  group.spawned_at = "b.cc:2";
  group.count = count;
  return group;
}

TaskGroup GroupAt(std::string spawned_at, std::string doing, int64_t count) {
  TaskGroup group = GroupNamed("job", count);
  group.spawned_at = std::move(spawned_at);
  group.doing = std::move(doing);
  return group;
}

TaskProfile ProfileOf(std::vector<TaskGroup> groups) {
  TaskProfile profile;
  for (const TaskGroup& group : groups) profile.tasks += group.count;
  profile.groups = std::move(groups);
  return profile;
}

TEST(TaskProfileTest, WhatWasWrittenIsReadAgain) {
  TaskGroup brief = GroupNamed("odd ] name [1, cancelled] x", 1);
  brief.at = "";
  brief.cancelled = true;
  const TaskProfile profile = ProfileOf({GroupNamed("loader", 12), brief});
  const std::string text = FormatTaskProfile(profile);
  absl::StatusOr<TaskProfile> parsed = ParseTaskProfile(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(FormatTaskProfile(*parsed), text);
  EXPECT_EQ(parsed->groups[1].name, "odd ] name [1, cancelled] x");
  EXPECT_TRUE(parsed->groups[1].cancelled);
  EXPECT_FALSE(parsed->groups[0].cancelled);
  absl::StatusOr<TaskProfile> empty = ParseTaskProfile(FormatTaskProfile(TaskProfile()));
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->tasks, 0);
}

std::string ErrorOf(std::string_view text) {
  return std::string(Message(ParseTaskProfile(text).status()));
}

TEST(TaskProfileTest, WhatIsNoAggregatedDumpIsRefusedWithItsLine) {
  const std::string head = "line 1: an aggregated dump begins with 'N tasks in M groups', not ";
  EXPECT_EQ(ErrorOf(""), head + "the end");
  EXPECT_EQ(ErrorOf("2 tasks\n\ntask 1 [timer, 1s] x\n"), head + "'2 tasks'");
  EXPECT_EQ(ErrorOf("{\"executors\":[]}\n"), head + "'{\"executors\":[]}'");
  EXPECT_EQ(ErrorOf("1 tasks in 1 group\n"), head + "'1 tasks in 1 group'");
  EXPECT_EQ(ErrorOf("1 task in 1 group\nx"),
            "line 2: a blank line stands before each group, not 'x'");
  EXPECT_EQ(ErrorOf("1 task in 1 group\n\n1 task timer\n"),
            "line 3: a group begins with 'N tasks [STATE, ...] NAME', not '1 task timer'");
  EXPECT_EQ(ErrorOf("1 task in 1 group\n\n1 task [timer] x\n    at a:1\n"),
            "line 5: '    spawned at FILE:LINE' ends a group, not the end");
}

TEST(TaskProfileTest, MoreTasksThanCanBeCountedAreRefused) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const std::string most = FormatTaskProfile(ProfileOf({GroupNamed("a", kMost)}));
  const absl::StatusOr<TaskProfile> parsed = ParseTaskProfile(most);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  TaskProfile one = ProfileOf({GroupAt("one.cc:1", "timer", 1)});
  const std::vector<SiteGrowth> growth = DiffTaskProfiles(*parsed, one);
  ASSERT_EQ(growth.size(), 2u);
  EXPECT_EQ(growth.front().difference(), 1);
  EXPECT_EQ(growth.back().difference(), -kMost);
  EXPECT_THAT(FormatTaskGrowth(growth), testing::StartsWith("-9223372036854775806 tasks, "));
  EXPECT_EQ(ErrorOf(most + most.substr(most.find("\n\n") + 1)),
            "line 7: with these there are more tasks than can be counted");
}

TEST(TaskProfileTest, ADumpThatIsNotWholeIsRefused) {
  const std::string text = FormatTaskProfile(ProfileOf({GroupNamed("a", 2), GroupNamed("b", 1)}));
  EXPECT_EQ(ErrorOf(text.substr(0, text.rfind("\n\n") + 1)),
            "line 6: the dump ends here with 2 tasks in 1 group, of which line 1 says 3 in 2: it "
            "is not whole");
  // Nor do two that follow each other pass for one.
  EXPECT_THAT(ErrorOf(text + text), testing::StartsWith("line 10: a blank line"));
}

TEST(TaskProfileTest, TheDifferenceIsSortedByTheGrowthOfTheSpawnLines) {
  TaskGroup begins = GroupAt("more.cc:1", "runnable", 1);
  begins.at = "";
  const TaskProfile before =
      ProfileOf({GroupAt("same.cc:1", "timer", 5), GroupAt("gone.cc:1", "timer", 4),
                 GroupAt("more.cc:1", "timer", 1), GroupAt("more.cc:1", "io", 2), begins});
  const TaskProfile after =
      ProfileOf({GroupAt("new.cc:1", "timer", 9), GroupAt("same.cc:1", "timer", 5),
                 GroupAt("more.cc:1", "timer", 7), GroupAt("more.cc:1", "io", 2)});
  EXPECT_EQ(FormatTaskGrowth(DiffTaskProfiles(before, after)),
            "+10 tasks, 3 spawn lines changed\n"
            "\n+9 spawned at new.cc:1  before 0, after 9\n"
            "    +9 [timer] job, at a.cc:1  before 0, after 9\n"
            "\n+5 spawned at more.cc:1  before 4, after 9\n"
            "    +6 [timer] job, at a.cc:1  before 1, after 7\n"
            "    -1 [runnable] job  before 1, after 0\n"
            "\n-4 spawned at gone.cc:1  before 4, after 0\n"
            "    -4 [timer] job, at a.cc:1  before 4, after 0\n");
  EXPECT_EQ(FormatTaskGrowth(DiffTaskProfiles(after, after)), "0 tasks, 0 spawn lines changed\n");
}

TEST(TaskProfileTest, WhatOnlyDoesSomethingElseHidesNoLeak) {
  const TaskProfile before =
      ProfileOf({GroupAt("busy.cc:1", "runnable", 1000), GroupAt("leak.cc:1", "timer", 10)});
  TaskGroup renamed = GroupAt("busy.cc:1", "timer", 1000);
  renamed.name = "another";
  const TaskProfile after = ProfileOf({renamed, GroupAt("leak.cc:1", "timer", 60)});
  const std::vector<SiteGrowth> growth = DiffTaskProfiles(before, after);
  ASSERT_EQ(growth.size(), 1u);
  EXPECT_EQ(growth.front().spawned_at, "leak.cc:1");
  EXPECT_EQ(growth.front().difference(), 50);
}

}  // namespace
}  // namespace nursery
