#include "nursery/core/task_observer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::seconds;

struct Ended {
  Ended() = default;
  uint64_t parent_id = 0;
  std::string name;
  Duration took{};
  absl::Status status;
};

class Recorder final : public TaskObserver {
 public:
  Recorder() = default;
  void OnStart(const TaskInfo& task) noexcept override {
    EXPECT_TRUE(started.emplace(task.id, task.name).second) << "started twice";
  }
  void OnEnd(const TaskInfo& task, Duration took, const absl::Status& status) noexcept override {
    EXPECT_TRUE(started.contains(task.id)) << "ended before its start";
    Ended& end = ended[task.id];
    EXPECT_TRUE(end.name.empty()) << "ended twice";
    end.parent_id = task.parent_id;
    end.name = task.name;
    end.took = took;
    end.status = status;
  }

  std::map<uint64_t, std::string> started;
  std::map<uint64_t, Ended> ended;
};

Async<absl::Status> Leaf(Context ctx, int id) {
  absl::Status slept = co_await Sleep(ctx, seconds(id));
  if (id == 2) throw std::runtime_error("thrown");
  co_return slept;
}

Async<absl::Status> SpawnLeaves(Group& group) {
  for (int id : {1, 2}) {
    absl::Status spawned = co_await group.Spawn("leaf " + std::to_string(id), Leaf, id);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> Branch(Context ctx) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnLeaves);
  co_return result.status;
}

Async<absl::Status> SpawnBranch(Group& group) {
  absl::Status spawned = co_await group.Spawn("branch", Branch);
  co_return spawned;
}

SEEDED_TEST(TaskObserverTest, SeesEveryTaskOfTheGroupsBelowOnce) {
  auto recorder = std::make_shared<Recorder>();
  GroupResult result = co_await WithGroup(Observed(ctx, recorder), GroupOptions(), SpawnBranch);
  const absl::Status thrown = Error(absl::StatusCode::kInternal, "exception: thrown");
  EXPECT_EQ(result.status, thrown);
  EXPECT_EQ(recorder->started.size(), 3u);
  EXPECT_EQ(recorder->ended.size(), 3u);
  std::map<std::string, std::pair<uint64_t, Ended>> by_name;
  for (const auto& [id, end] : recorder->ended) by_name[end.name] = {id, end};
  EXPECT_EQ(by_name["leaf 1"].second.parent_id, by_name["branch"].first);
  EXPECT_TRUE(by_name["leaf 1"].second.status.ok());
  EXPECT_EQ(by_name["leaf 1"].second.took, seconds(1));
  EXPECT_EQ(by_name["leaf 2"].second.status, thrown);
  EXPECT_EQ(by_name["leaf 2"].second.took, seconds(2));
  EXPECT_EQ(by_name["branch"].second.status, thrown);
  // Beside the observed context nothing is seen.
  GroupResult beside = co_await WithGroup(ctx, GroupOptions(), SpawnBranch);
  EXPECT_EQ(beside.status, thrown);
  EXPECT_EQ(recorder->started.size(), 3u);
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskObserverTest, SeesNothingOfASpawnThatIsRefused) {
  auto recorder = std::make_shared<Recorder>();
  CancelScope scope(Observed(ctx, recorder));
  scope.Cancel("stop");
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), SpawnBranch);
  EXPECT_TRUE(absl::IsCancelled(result.status));
  EXPECT_TRUE(recorder->started.empty());
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskObserverTest, TheLogHasALineForEachStartAndEnd) {
  std::vector<std::string> lines;
  auto log = std::make_shared<TaskLog>(
      [&lines](std::string_view line) noexcept { lines.emplace_back(line); });
  GroupResult result = co_await WithGroup(Observed(ctx, log), GroupOptions(), SpawnBranch);
  EXPECT_FALSE(result.status.ok());
  EXPECT_EQ(lines.size(), 6u);
  EXPECT_TRUE(lines.front().starts_with("task 2 (branch) of 1 started at ")) << lines.front();
  EXPECT_TRUE(lines.front().ends_with("\n"));
  EXPECT_EQ(lines[3], "task 3 (leaf 1) of 2 ended after 1.00s: OK\n");
  EXPECT_EQ(lines[5], "task 2 (branch) of 1 ended after 2.00s: INTERNAL: exception: thrown\n");
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskObserverTest, ANameOrAnErrorForgesNoLineOfTheLog) {
  std::vector<std::string> lines;
  auto log = std::make_shared<TaskLog>(
      [&lines](std::string_view line) noexcept { lines.emplace_back(line); });
  auto body = [](Group& group) -> Async<absl::Status> {
    auto fail = [](Context) -> Async<absl::Status> {
      co_return Error(absl::StatusCode::kInternal, "bad\ntask 9 (x) of 1 ended");
    };
    co_return co_await group.Spawn("name\nforged", fail);
  };
  GroupResult result = co_await WithGroup(Observed(ctx, log), GroupOptions(), body);
  EXPECT_FALSE(result.status.ok());
  EXPECT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines.front().starts_with("task 2 (name forged) of 1 started at ")) << lines.front();
  EXPECT_EQ(lines.back(),
            "task 2 (name forged) of 1 ended after 0.0ms: INTERNAL: bad task 9 (x) of 1 ended\n");
  co_return absl::OkStatus();
}

class Counter final : public TaskObserver {
 public:
  Counter() = default;
  void OnStart(const TaskInfo&) noexcept override { started.fetch_add(1); }
  void OnEnd(const TaskInfo&, Duration, const absl::Status&) noexcept override {
    ended.fetch_add(1);
  }

  std::atomic<int> started = 0;
  std::atomic<int> ended = 0;
};

TEST(TaskObserverStressTest, CountsOnThreads) {
  ThreadExecutor executor(2);
  auto root = [](Context ctx, std::shared_ptr<Counter> counter) -> Async<absl::Status> {
    auto body = [](Group& group) -> Async<absl::Status> {
      for (int i = 0; i < 5000; ++i) {
        absl::Status spawned = co_await group.Spawn("leaf", Leaf, 0);
        if (!spawned.ok()) co_return spawned;
      }
      co_return absl::OkStatus();
    };
    Context observed = Observed(ctx, counter);
    GroupResult result = co_await WithGroup(observed, GroupOptions(), body);
    EXPECT_EQ(counter->ended, 5000) << "told after the join";
    co_return result.status;
  };
  auto counter = std::make_shared<Counter>();
  absl::Status status =
      executor.Run("stress", [&](Context ctx) { return root(std::move(ctx), counter); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(counter->started, 5000);
}

}  // namespace
}  // namespace nursery
