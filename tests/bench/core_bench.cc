// What the primitives of core cost, with default options and public headers only. core_bench.py
// compares the figures with those of others who do the same work.
#include <benchmark/benchmark.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "nursery/core/channel.h"
#include "nursery/core/context.h"
#include "nursery/core/dump.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"

namespace nursery {
namespace {

constexpr std::chrono::hours kLong{1};

void Must(const absl::Status& status) { NURSERY_CHECK(status.ok()) << status; }

// Tasks that do next to nothing, in one group.
Async<absl::Status> Square(Context, int64_t number, int64_t* result) {
  *result = number * number;
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnSquares(Group& group, std::vector<int64_t>* results) {
  for (size_t i = 0; i < results->size(); ++i) {
    absl::Status spawned =
        co_await group.Spawn("square", Square, static_cast<int64_t>(i), &(*results)[i]);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> RunSquares(Context ctx, std::vector<int64_t>* results, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnSquares, results);
    if (!result.status.ok()) co_return result.status;
  }
  co_return absl::OkStatus();
}

void RunGroups(benchmark::State& state, int workers, size_t tasks, int64_t rounds) {
  ThreadExecutor executor(workers);
  std::vector<int64_t> results(tasks);
  for (auto _ : state) {
    Must(executor.Run("bench",
                      [&](Context ctx) { return RunSquares(std::move(ctx), &results, rounds); }));
    benchmark::DoNotOptimize(std::accumulate(results.begin(), results.end(), int64_t{0}));
  }
}

void SpawnAndJoin(benchmark::State& state) {
  RunGroups(state, static_cast<int>(state.range(0)), 100'000, 1);
  state.SetItemsProcessed(state.iterations() * 100'000);
}
BENCHMARK(SpawnAndJoin)->Arg(1)->Arg(2)->UseRealTime();

void GroupOfTen(benchmark::State& state) {
  RunGroups(state, static_cast<int>(state.range(0)), 10, 10'000);
  state.SetItemsProcessed(state.iterations() * 10'000);
}
BENCHMARK(GroupOfTen)->Arg(2)->UseRealTime();

// One task that does the same thing again and again.
template <class Body>
void RunLoop(benchmark::State& state, int workers, Body body) {
  constexpr int64_t kRounds = 100'000;
  ThreadExecutor executor(workers);
  for (auto _ : state) {
    Must(executor.Run("bench", [&](Context ctx) { return body(std::move(ctx), kRounds); }));
  }
  state.SetItemsProcessed(state.iterations() * kRounds);
}

Async<absl::Status> YieldAgain(Context ctx, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) co_await Yield();
  co_return ctx.status();
}
void Reschedule(benchmark::State& state) { RunLoop(state, 1, YieldAgain); }
BENCHMARK(Reschedule)->UseRealTime();

Async<absl::Status> AcquireAgain(Context ctx, int64_t rounds) {
  Semaphore semaphore(2);
  for (int64_t i = 0; i < rounds; ++i) {
    absl::StatusOr<Permit> permit = co_await semaphore.Acquire(ctx);
    if (!permit.ok()) co_return permit.status();
  }
  co_return absl::OkStatus();
}
void SemaphoreAcquireRelease(benchmark::State& state) { RunLoop(state, 1, AcquireAgain); }
BENCHMARK(SemaphoreAcquireRelease)->UseRealTime();

Async<absl::Status> CancelAgain(Context ctx, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    const CancelScope scope(ctx);
    NURSERY_CHECK(scope.Cancel("enough"));
  }
  co_return ctx.status();
}
void ContextCancel(benchmark::State& state) { RunLoop(state, 1, CancelAgain); }
BENCHMARK(ContextCancel)->UseRealTime();

Async<absl::Status> TimeOutAgain(Context ctx, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    const CancelScope scope(ctx, Later(ctx.Now(), kLong), "bench");
    NURSERY_CHECK(scope.Cancel("enough"));
  }
  co_return ctx.status();
}
void ContextTimeoutCancel(benchmark::State& state) { RunLoop(state, 1, TimeOutAgain); }
BENCHMARK(ContextTimeoutCancel)->UseRealTime();

// A scope with a deadline arms a timer, and disarms it when it ends.
Async<absl::Status> ArmAgain(Context ctx, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    const CancelScope scope(ctx, Later(ctx.Now(), kLong), "bench");
    benchmark::DoNotOptimize(&scope);
  }
  co_return ctx.status();
}
void TimerStartStop(benchmark::State& state) { RunLoop(state, 1, ArmAgain); }
BENCHMARK(TimerStartStop)->UseRealTime();

// Two tasks and channels between them.
Async<absl::Status> ReturnBalls(Context ctx, Receiver<int64_t> in, Sender<int64_t> out) {
  for (;;) {
    absl::StatusOr<int64_t> ball = co_await in.Receive(ctx);
    if (!ball.ok()) co_return absl::OkStatus();
    absl::Status sent = co_await out.Send(ctx, *ball + 1);
    if (!sent.ok()) co_return sent;
  }
}

Async<absl::Status> ServeBalls(Context ctx, Sender<int64_t> out, Receiver<int64_t> in,
                               int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    absl::Status sent = co_await out.Send(ctx, i);
    if (!sent.ok()) co_return sent;
    absl::StatusOr<int64_t> back = co_await in.Receive(ctx);
    if (!back.ok()) co_return back.status();
    NURSERY_CHECK(*back == i + 1);
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnPlayers(Group& group, int64_t rounds) {
  auto [ping_sender, ping_receiver] = MakeChannel<int64_t>(0);
  auto [pong_sender, pong_receiver] = MakeChannel<int64_t>(0);
  absl::Status spawned =
      co_await group.Spawn("return", ReturnBalls, std::move(ping_receiver), std::move(pong_sender));
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("serve", ServeBalls, std::move(ping_sender),
                                 std::move(pong_receiver), rounds);
  co_return spawned;
}

Async<absl::Status> PlayBalls(Context ctx, int64_t rounds) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnPlayers, rounds);
  co_return result.status;
}
void RendezvousPingPong(benchmark::State& state) { RunLoop(state, 1, PlayBalls); }
BENCHMARK(RendezvousPingPong)->UseRealTime();

Async<absl::Status> Produce(Context ctx, Sender<int64_t> out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    absl::Status sent = co_await out.Send(ctx, i);
    if (!sent.ok()) co_return sent;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> Consume(Context ctx, Receiver<int64_t> in, int64_t count) {
  int64_t sum = 0;
  for (;;) {
    absl::StatusOr<int64_t> got = co_await in.Receive(ctx);
    if (!got.ok()) break;
    sum += *got;
  }
  NURSERY_CHECK(sum == count * (count - 1) / 2);
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnPair(Group& group, int64_t count) {
  auto [sender, receiver] = MakeChannel<int64_t>(256);
  absl::Status spawned = co_await group.Spawn("consume", Consume, std::move(receiver), count);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("produce", Produce, std::move(sender), count);
  co_return spawned;
}

Async<absl::Status> PassAll(Context ctx, int64_t count) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnPair, count);
  co_return result.status;
}
void BufferedChannel(benchmark::State& state) { RunLoop(state, 1, PassAll); }
BENCHMARK(BufferedChannel)->UseRealTime();

// Tasks that wait until they are cancelled.
struct Parked {
  int64_t count = 0;
  std::atomic<int64_t> waiting{0};
  Time cancelled;
  std::function<void()> when_parked;
};

Async<absl::Status> Park(Context ctx, Parked* parked) {
  parked->waiting.fetch_add(1, std::memory_order_relaxed);
  absl::Status status = co_await UntilCancelled(ctx);
  co_return status;
}

Async<absl::Status> SpawnParked(Group& group, Parked* parked, const CancelScope* scope) {
  for (int64_t i = 0; i < parked->count; ++i) {
    absl::Status spawned = co_await group.Spawn("park", Park, parked);
    if (!spawned.ok()) co_return spawned;
  }
  while (parked->waiting.load() < parked->count) co_await Yield();
  if (parked->when_parked) parked->when_parked();
  parked->cancelled = scope->context().Now();
  scope->Cancel("enough");
  co_return absl::OkStatus();
}

Async<absl::Status> ParkAndCancel(Context ctx, Parked* parked) {
  const CancelScope scope(ctx);
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(scope.context(), collect, SpawnParked, parked, &scope);
  NURSERY_CHECK(result.error_count == parked->count);
  co_return absl::OkStatus();
}

void RunParked(ThreadExecutor& executor, Parked* parked) {
  parked->waiting = 0;
  Must(executor.Run("bench", [&](Context ctx) { return ParkAndCancel(std::move(ctx), parked); }));
}

void CancelParked(benchmark::State& state) {
  ThreadExecutor executor;
  Parked parked;
  parked.count = 100'000;
  for (auto _ : state) {
    RunParked(executor, &parked);
    const std::chrono::duration<double> took = executor.clock().Now() - parked.cancelled;
    state.SetIterationTime(took.count());
  }
  state.SetItemsProcessed(state.iterations() * parked.count);
}
BENCHMARK(CancelParked)->UseManualTime()->MinTime(0.05);

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

void ParkedBytes(benchmark::State& state) {
  ThreadExecutor executor;
  Parked parked;
  parked.count = 1'000'000;
  const int64_t before = ResidentBytes();
  int64_t grown = 0;
  parked.when_parked = [&] { grown = ResidentBytes() - before; };
  for (auto _ : state) RunParked(executor, &parked);
  state.counters["bytes"] = static_cast<double>(grown) / static_cast<double>(parked.count);
}
BENCHMARK(ParkedBytes)->Iterations(1)->UseRealTime();

// What a dump costs while 100,000 tasks are parked.
void Dump(benchmark::State& state, DumpFormat format, size_t least_bytes) {
  ThreadExecutor executor;
  Parked parked;
  parked.count = 100'000;
  double seconds = 0;
  parked.when_parked = [&] {
    const Time start = executor.clock().Now();
    const std::string text = DumpAllTasks(format);
    seconds = std::chrono::duration<double>(executor.clock().Now() - start).count();
    NURSERY_CHECK(text.size() > least_bytes);
  };
  for (auto _ : state) {
    RunParked(executor, &parked);
    state.SetIterationTime(seconds);
  }
}

void DumpText(benchmark::State& state) { Dump(state, DumpFormat::kText, 10'000'000); }
BENCHMARK(DumpText)->UseManualTime()->Iterations(1);

void DumpCounts(benchmark::State& state) { Dump(state, DumpFormat::kAggregate, 100); }
BENCHMARK(DumpCounts)->UseManualTime()->Iterations(1);

}  // namespace
}  // namespace nursery

BENCHMARK_MAIN();
