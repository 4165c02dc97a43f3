// What a dump takes from those that run: tasks come and go on one or two workers while a million
// others are parked and a thread of its own takes dumps. Prints its figures as JSON.
//
// usage: dump_bench [PARKED]
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/context.h"
#include "nursery/core/dump.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"

namespace nursery {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kDumps = 7;

struct Scene {
  int64_t parked = 0;
  int workers = 0;
  const Clock* clock = nullptr;
  std::atomic<int64_t> arrived{0};
  std::atomic<int64_t> came_and_went{0};
  std::atomic<Duration> longest{Duration::zero()};  // that one took to come and go
  std::atomic<bool> stop{false};
  std::vector<double> shares;           // the rate during each dump, to that without
  std::vector<double> longest_without;  // in milliseconds
  std::vector<double> longest_with;
  std::vector<double> dumps;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Async<absl::Status> Park(Context ctx, Scene* scene) {
  scene->arrived.fetch_add(1, std::memory_order_relaxed);
  absl::Status cancelled = co_await UntilCancelled(ctx);
  co_return cancelled;
}

Async<absl::Status> SpawnOne(Group& group) {
  auto nothing = [](Context child) -> Async<absl::Status> { co_return child.status(); };
  absl::Status spawned = co_await group.Spawn("brief", nothing);
  co_return spawned;
}

Async<absl::Status> ComeAndGo(Context ctx, Scene* scene) {
  Time before = ctx.Now();
  while (!scene->stop) {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnOne);
    if (!result.status.ok()) co_return result.status;
    co_await Yield();
    const Time now = ctx.Now();
    Duration longest = scene->longest;
    while (now - before > longest && !scene->longest.compare_exchange_weak(longest, now - before)) {
    }
    before = now;
    scene->came_and_went.fetch_add(1, std::memory_order_relaxed);
  }
  co_return absl::OkStatus();
}

struct Seen {
  double rate = 0;  // per millisecond
  double longest = 0;
  Duration took{};
};

Seen During(Scene& scene, const std::function<void()>& work) {
  scene.longest = Duration::zero();
  const int64_t before = scene.came_and_went;
  const Time start = scene.clock->Now();
  work();
  Seen seen;
  seen.took = scene.clock->Now() - start;
  seen.rate = static_cast<double>(scene.came_and_went - before) / Milliseconds(seen.took).count();
  seen.longest = Milliseconds(scene.longest.load()).count();
  return seen;
}

absl::Status TakeDumps(Scene* scene) {
  const auto dump = [] { NURSERY_CHECK(!DumpAllTasks().empty()); };
  Duration took = During(*scene, dump).took;
  for (int i = 0; i < kDumps; ++i) {
    const Seen without = During(*scene, [&] {
      const auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(took);
      poll(nullptr, 0, std::max(20, static_cast<int>(pause.count())));
    });
    const Seen with = During(*scene, dump);
    took = with.took;
    scene->shares.push_back(with.rate / without.rate);
    scene->longest_without.push_back(without.longest);
    scene->longest_with.push_back(with.longest);
    scene->dumps.push_back(Milliseconds(with.took).count());
  }
  return absl::OkStatus();
}

Async<absl::Status> SpawnAll(Group& group, Scene* scene, const CancelScope* scope) {
  for (int64_t i = 0; i < scene->parked; ++i) {
    absl::Status spawned = co_await group.Spawn("park", Park, scene);
    if (!spawned.ok()) co_return spawned;
  }
  while (scene->arrived.load() < scene->parked) co_await Yield();
  for (int i = 0; i < scene->workers; ++i) {
    absl::Status spawned = co_await group.Spawn("come and go", ComeAndGo, scene);
    if (!spawned.ok()) co_return spawned;
  }
  auto look = [scene] { return TakeDumps(scene); };
  absl::Status looked = co_await RunBlocking(group.context(), std::move(look));
  scene->stop = true;
  scope->Cancel("enough");
  co_return looked;
}

Async<absl::Status> Run(Context ctx, Scene* scene) {
  const CancelScope scope(ctx);
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(scope.context(), collect, SpawnAll, scene, &scope);
  NURSERY_CHECK(result.error_count >= scene->parked) << result.status;
  co_return absl::OkStatus();
}

void Measure(int workers, int64_t parked) {
  ThreadExecutor executor(workers);
  Scene scene;
  scene.parked = parked;
  scene.workers = workers;
  scene.clock = &executor.clock();
  const absl::Status ran =
      executor.Run("bench", [&](Context ctx) { return Run(std::move(ctx), &scene); });
  NURSERY_CHECK(ran.ok()) << ran;
  std::vector<double> longer;
  for (size_t i = 0; i < scene.longest_with.size(); ++i) {
    longer.push_back(scene.longest_with[i] - scene.longest_without[i]);
  }
  std::printf(
      "\"dump_%d_ms\": %.1f, \"share_%d\": %.3f, \"longest_without_%d_ms\": %.2f, "
      "\"longest_%d_ms\": %.2f, \"longer_%d_ms\": %.2f",
      workers, Median(scene.dumps), workers, Median(scene.shares), workers,
      Median(scene.longest_without), workers, Median(scene.longest_with), workers, Median(longer));
}

}  // namespace
}  // namespace nursery

int main(int argc, char** argv) {
  const int64_t parked = argc > 1 ? std::atoll(argv[1]) : 1'000'000;
  std::printf("{");
  nursery::Measure(1, parked);
  std::printf(", ");
  nursery::Measure(2, parked);
  std::printf("}\n");
}
