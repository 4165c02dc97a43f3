// A dump of very many parked tasks while others come and go. NURSERY_PARKED sets how many;
// 1,000,000 is what is promised, and takes a gigabyte.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"

namespace nursery {
namespace {

constexpr int kCanaries = 1000;

int Parked() {
  const char* text = std::getenv("NURSERY_PARKED");
  return text == nullptr ? 50'000 : std::atoi(text);
}

struct Scene {
  Semaphore semaphore{1};
  std::optional<Permit> taken = semaphore.TryAcquire();
  std::atomic<int> arrived{0};
  std::atomic<int64_t> came_and_went{0};
  std::atomic<bool> stop{false};
};

Async<absl::Status> Park(Context ctx, Scene* scene) {
  scene->arrived.fetch_add(1);
  absl::StatusOr<Permit> permit = co_await scene->semaphore.Acquire(ctx);
  co_return permit.status();
}

// The leaf of a chain of three, each in a scope of the one above.
Async<absl::Status> Chain(Context ctx, Scene* scene, int index, int depth) {
  if (depth == 3) co_return co_await Park(ctx, scene);
  auto body = [](Group& group, Scene* of, int canary, int level) -> Async<absl::Status> {
    const std::string name = "canary " + std::to_string(canary) + "/" + std::to_string(level);
    co_return co_await group.Spawn(name, Chain, of, canary, level + 1);
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, scene, index, depth);
  co_return result.status;
}

Async<absl::Status> ComeAndGo(Context ctx, Scene* scene) {
  while (!scene->stop.load()) {
    auto body = [](Group& group) -> Async<absl::Status> {
      auto nothing = [](Context child) -> Async<absl::Status> { co_return child.status(); };
      co_return co_await group.Spawn("brief", nothing);
    };
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
    if (!result.status.ok()) co_return result.status;
    scene->came_and_went.fetch_add(1);
    co_await Yield();
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnAll(Group& group, Scene* scene) {
  absl::Status spawned = co_await group.Spawn("others", ComeAndGo, scene);
  for (int i = 0; i < Parked() && spawned.ok(); ++i) {
    spawned = co_await group.Spawn("parked", Park, scene);
  }
  for (int i = 0; i < kCanaries && spawned.ok(); ++i) {
    spawned = co_await group.Spawn("canary " + std::to_string(i) + "/0", Chain, scene, i, 1);
  }
  if (!spawned.ok()) co_return spawned;
  while (scene->arrived.load() < Parked() + kCanaries) co_await Yield();
  co_return absl::OkStatus();
}

// Each once, in the order of the ids, its parent with it, in a state that there is.
void ExpectWhole(const internal::TaskSnapshot& snapshot) {
  uint64_t last = 0;
  for (const internal::TaskEntry& task : snapshot.tasks) {
    ASSERT_GT(task.id, last);
    last = task.id;
    ASSERT_TRUE(task.parent_id == 0 || snapshot.Find(task.parent_id) != nullptr) << task.parent_id;
    ASSERT_LT(static_cast<int>(task.state), kTaskStateCount);
    ASSERT_EQ(task.reason != WaitReason::kNone,
              task.state == TaskState::kWaiting || task.state == TaskState::kBlocking);
  }
}

// Whoever has arrived, and spawned one that has, may not have come to its wait yet.
bool CanariesWait(const internal::TaskSnapshot& snapshot) {
  return std::all_of(snapshot.tasks.begin(), snapshot.tasks.end(), [](const auto& task) {
    return !task.name.starts_with("canary ") || task.reason != WaitReason::kNone;
  });
}

void ExpectCanaries(const internal::TaskSnapshot& snapshot) {
  std::map<std::string, const internal::TaskEntry*> by_name;
  for (const internal::TaskEntry& task : snapshot.tasks) {
    if (task.name.starts_with("canary ")) {
      ASSERT_TRUE(by_name.emplace(task.name, &task).second) << task.name;
    }
  }
  ASSERT_EQ(by_name.size(), size_t{3} * kCanaries);
  for (int i = 0; i < kCanaries; ++i) {
    const std::string name = "canary " + std::to_string(i) + "/";
    const internal::TaskEntry* const leaf = by_name[name + "2"];
    ASSERT_EQ(leaf->reason, WaitReason::kSemaphore) << name;
    const internal::TaskEntry* const middle = snapshot.Find(leaf->parent_id);
    ASSERT_EQ(middle, by_name[name + "1"]);
    ASSERT_EQ(middle->reason, WaitReason::kGroupJoin);
    const internal::TaskEntry* const outer = snapshot.Find(middle->parent_id);
    ASSERT_EQ(outer, by_name[name + "0"]);
    ASSERT_EQ(snapshot.Find(outer->parent_id)->name, "root");
  }
}

void Look(ThreadExecutor& executor, Scene* scene) {
  const int64_t before = scene->came_and_went.load();
  const internal::TaskSnapshot snapshot = executor.registry().Snapshot();
  ExpectWhole(snapshot);
  ExpectCanaries(snapshot);
  int64_t parked = 0;
  for (const internal::TaskEntry& task : snapshot.tasks) parked += task.name == "parked" ? 1 : 0;
  EXPECT_EQ(parked, Parked());
  const std::string text = internal::RenderText(snapshot);
  EXPECT_TRUE(text.starts_with(std::to_string(snapshot.tasks.size()) + " tasks\n"));
  EXPECT_GT(scene->came_and_went.load(), before) << "nothing came or went meanwhile";
}

Async<absl::Status> ParkAndLook(Context ctx, ThreadExecutor* executor, Scene* scene) {
  auto body = [](Group& group, ThreadExecutor* of, Scene* in) -> Async<absl::Status> {
    absl::Status spawned = co_await SpawnAll(group, in);
    if (!spawned.ok()) co_return spawned;
    while (!CanariesWait(of->registry().Snapshot())) co_await Yield();
    Look(*of, in);
    in->stop.store(true);
    in->taken.reset();
    co_return absl::OkStatus();
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, executor, scene);
  co_return result.status;
}

TEST(DumpMillionTest, EachTaskIsInItOnceWithItsChainWhileOthersComeAndGo) {
  Scene scene;
  ThreadExecutor executor(2);
  absl::Status status = executor.Run(
      "root", [&](Context ctx) { return ParkAndLook(std::move(ctx), &executor, &scene); });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
