// The work of core_bench.cc that oneTBB knows: prints one JSON object of nanoseconds by name.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <oneapi/tbb/version.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

void Squares(std::vector<int64_t>* results) {
  oneapi::tbb::task_group group;
  for (size_t i = 0; i < results->size(); ++i) {
    group.run([results, i] { (*results)[i] = static_cast<int64_t>(i * i); });
  }
  group.wait();
}

// Nanoseconds of one task, over at least half a second of groups.
double SpawnAndJoin(int workers) {
  oneapi::tbb::global_control control(oneapi::tbb::global_control::max_allowed_parallelism,
                                      static_cast<size_t>(workers));
  oneapi::tbb::task_arena arena(workers);
  std::vector<int64_t> results(100'000);
  const auto run = [&] { arena.execute([&] { Squares(&results); }); };
  run();
  int64_t rounds = 0;
  const auto start = Clock::now();
  for (; Clock::now() - start < std::chrono::milliseconds(500); ++rounds) run();
  const std::chrono::duration<double, std::nano> took = Clock::now() - start;
  if (results.back() != 99'999LL * 99'999) std::exit(1);
  return took.count() / static_cast<double>(rounds) / static_cast<double>(results.size());
}

}  // namespace

int main() {
  const double one = SpawnAndJoin(1);
  const double two = SpawnAndJoin(2);
  std::printf("{\"version\": \"oneTBB %s\", \"figures\": {\"spawn_1\": %.2f, \"spawn_2\": %.2f}}\n",
              TBB_runtime_version(), one, two);
}
