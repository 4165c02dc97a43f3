// Every primitive at once on real threads, with ends that come at any moment: nothing is lost or
// left behind, and no more is held than there is. Meant for the thread sanitizer too.
//
// NURSERY_STRESS_ROUNDS sets how many rounds each number of workers does (default 200).
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/channel.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/parallel_map.h"
#include "nursery/core/pipeline.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/core/timeout.h"
#include "nursery/core/worker_pool.h"

namespace nursery {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

constexpr int64_t kPermits = 4;
constexpr int kValues = 30;

// How a round ends.
enum class End { kByItself, kDeadline, kCancel, kFailure };
constexpr int kEnds = 4;

// What the actors of a round share.
struct Round {
  Round() = default;

  Semaphore permits{kPermits};
  std::atomic<int64_t> held = 0;
  std::atomic<int64_t> values = 0;  // that exist
  std::atomic<int64_t> sent = 0;
  std::atomic<int64_t> received = 0;
  std::atomic<int64_t> listeners = 0;
  std::atomic<int64_t> told = 0;
  std::atomic<int64_t> stopped = 0;
};

// Counts itself, so that one that stays in a channel is seen.
class Value {
 public:
  explicit Value(Round* round) : round_(round) { ++round_->values; }
  Value(Value&& other) noexcept : round_(other.round_) { ++round_->values; }
  Value& operator=(Value&&) = default;  // both go on to exist
  ~Value() { --round_->values; }

 private:
  Round* round_;
};

Async<absl::Status> UsePermits(Context ctx, Round* round, uint32_t seed) {
  std::minstd_rand random(seed);
  for (int i = 0; i < kValues; ++i) {
    const int64_t weight = 1 + static_cast<int64_t>(random() % 3);
    absl::StatusOr<Permit> permit = co_await round->permits.Acquire(ctx, weight);
    if (!permit.ok()) co_return permit.status();
    EXPECT_LE(round->held += weight, kPermits);
    co_await Yield();
    round->held -= weight;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SendValues(Context ctx, Sender<Value> out, Round* round) {
  for (int i = 0; i < kValues; ++i) {
    absl::Status sent = co_await out.Send(ctx, Value(round));
    if (!sent.ok()) co_return sent;
    ++round->sent;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> ReceiveValues(Context ctx, Receiver<Value> in, Round* round) {
  for (;;) {
    absl::StatusOr<Value> value = co_await in.Receive(ctx);
    if (absl::IsOutOfRange(value.status())) co_return absl::OkStatus();
    if (!value.ok()) co_return value.status();
    ++round->received;
  }
}

Async<absl::Status> SelectValues(Context ctx, Receiver<Value> left, Receiver<Value> right,
                                 Round* round) {
  for (;;) {
    ReceiveCase<Value> of_left(left);
    ReceiveCase<Value> of_right(right);
    absl::StatusOr<size_t> ready = co_await Select(ctx, of_left, of_right);
    if (!ready.ok()) co_return ready.status();
    absl::StatusOr<Value> value = *ready == 0 ? of_left.Take() : of_right.Take();
    if (!value.ok()) break;  // that one is drained
    ++round->received;
  }
  absl::Status drained = co_await ReceiveValues(ctx, std::move(left), round);
  if (!drained.ok()) co_return drained;
  drained = co_await ReceiveValues(ctx, std::move(right), round);
  co_return drained;
}

Async<absl::Status> SpawnPassers(Group& group, Round* round, uint32_t seed) {
  auto [left_sender, left] = MakeChannel<Value>(seed % 3);
  auto [right_sender, right] = MakeChannel<Value>(seed % 2);
  for (int i = 0; i < 2; ++i) {
    absl::Status spawned = group.TrySpawn("send left", SendValues, left_sender, round);
    if (spawned.ok()) spawned = group.TrySpawn("send right", SendValues, right_sender, round);
    if (spawned.ok()) spawned = group.TrySpawn("receive", ReceiveValues, left, round);
    if (spawned.ok()) spawned = group.TrySpawn("select", SelectValues, left, right, round);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> PassValues(Context ctx, Round* round, uint32_t seed) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnPassers, round, seed);
  co_return result.status;
}

Async<absl::StatusOr<int>> Double(Context ctx, int number) {
  co_await Yield();
  if (ctx.cancelled()) co_return ctx.status();
  co_return 2 * number;
}

Async<absl::Status> MapAndPipe(Context ctx, Round*, uint32_t seed) {
  std::vector<int> numbers(kValues);
  std::iota(numbers.begin(), numbers.end(), 1);
  const bool ordered = seed % 2 == 0;
  StageOptions options(1 + seed % 4, seed % 3, ordered);
  absl::StatusOr<std::vector<int>> mapped =
      co_await ParallelMap(ctx, "map", options, std::move(numbers), Double);
  if (!mapped.ok()) co_return mapped.status();
  auto plan = Pipeline<int>::FromVector("numbers", *std::move(mapped))
                  .Then("double", options, Double)
                  .Then("again", StageOptions(2, 1), Double);
  absl::StatusOr<std::vector<int>> piped = co_await std::move(plan).Collect(ctx);
  if (!piped.ok()) co_return piped.status();
  EXPECT_EQ(std::accumulate(piped->begin(), piped->end(), 0), 8 * kValues * (kValues + 1) / 2);
  EXPECT_TRUE(!ordered || std::is_sorted(piped->begin(), piped->end()));
  co_return absl::OkStatus();
}

struct Jobs {
  Jobs() = default;

  int64_t accepted = 0;
  std::atomic<int64_t> begun = 0;
};

Async<absl::Status> RunJob(Context ctx, Jobs* jobs) {
  const int64_t number = ++jobs->begun;
  auto square = [number]() -> absl::StatusOr<int64_t> { return number * number; };
  absl::StatusOr<int64_t> squared = co_await RunBlocking(ctx, std::move(square));
  if (!squared.ok()) co_return squared.status();
  EXPECT_EQ(*squared, number * number);
  co_return absl::OkStatus();
}

Async<absl::Status> SubmitJobs(WorkerPool& pool, Context ctx, Jobs* jobs) {
  for (int i = 0; i < kValues; ++i) {
    absl::Status accepted = co_await pool.Submit(ctx, "job", RunJob, jobs);
    if (!accepted.ok()) co_return accepted;
    ++jobs->accepted;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> UsePool(Context ctx, Round*, uint32_t seed) {
  Jobs jobs;
  WorkerPoolOptions options(1 + seed % 3, seed % 4);
  GroupResult result = co_await WithWorkerPool(ctx, "pool", options, SubmitJobs, ctx, &jobs);
  EXPECT_LE(jobs.begun, jobs.accepted);
  EXPECT_EQ(result.succeeded + result.error_count + result.cancelled, jobs.accepted);
  EXPECT_TRUE(!result.status.ok() || result.succeeded == kValues);
  co_return result.status;
}

Async<absl::Status> Nap(Context ctx, Duration duration) {
  absl::Status slept = co_await Sleep(ctx, duration);
  co_return slept;
}

Async<absl::Status> SpawnNaps(Group& group, uint32_t seed) {
  std::minstd_rand random(seed);
  for (int i = 0; i < 6; ++i) {
    absl::Status spawned = co_await group.Spawn("nap", Nap, microseconds(random() % 300));
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

// Groups that are decided before all have ended, and timeouts that race with their work.
Async<absl::Status> DecideEarly(Context ctx, Round*, uint32_t seed) {
  for (int i = 0; i < 5; ++i) {
    GroupOptions options;
    options.join = i % 2 == 0 ? Join::Any() : Join::Quorum(2);
    options.limit = 3;
    GroupResult result = co_await WithGroup(ctx, options, SpawnNaps, seed + 6);
    if (!result.status.ok()) co_return result.status;
    EXPECT_GE(result.succeeded, options.join.count);
    const Duration bound = microseconds(seed % 200);
    absl::Status napped = co_await WithTimeout(ctx, bound, "nap", Nap, microseconds(100));
    if (ctx.cancelled()) co_return ctx.status();
    EXPECT_TRUE(napped.ok() || absl::IsDeadlineExceeded(napped)) << napped;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> Listen(Context ctx, Round* round, uint32_t seed) {
  ++round->listeners;
  CancelCallback callback = ctx.AfterFunc([round]() noexcept { ++round->told; });
  absl::Status slept = co_await Sleep(ctx, microseconds(seed % 1000));
  if (callback.Stop()) ++round->stopped;
  co_return slept;
}

absl::Status Boom() { return Error(absl::StatusCode::kDataLoss, "boom"); }

Async<absl::Status> EndTheRound(Context ctx, const CancelScope* scope, End end, uint32_t seed) {
  absl::Status slept = co_await Sleep(ctx, microseconds(seed % 2000));
  if (end == End::kFailure) co_return Boom();
  scope->Cancel("enough");
  co_return slept;
}

Async<absl::Status> SpawnActors(Group& group, Round* round, const CancelScope* scope, End end,
                                uint32_t seed) {
  using Actor = Async<absl::Status> (*)(Context, Round*, uint32_t);
  std::minstd_rand random(seed);
  for (Actor actor : {&UsePermits, &PassValues, &MapAndPipe, &UsePool, &DecideEarly, &Listen}) {
    for (int i = 0; i < 3; ++i) {
      const auto own_seed = static_cast<uint32_t>(random());
      absl::Status spawned = co_await group.Spawn("actor", actor, round, own_seed);
      if (!spawned.ok()) co_return spawned;
    }
  }
  if (end != End::kCancel && end != End::kFailure) co_return absl::OkStatus();
  const auto own_seed = static_cast<uint32_t>(random());
  absl::Status spawned = co_await group.Spawn("end", EndTheRound, scope, end, own_seed);
  co_return spawned;
}

void ExpectEndedAsMeant(End end, const absl::Status& status) {
  switch (end) {
    case End::kByItself:
      EXPECT_TRUE(status.ok()) << status;
      break;
    case End::kDeadline:
      EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status)) << status;
      break;
    case End::kCancel:
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
      break;
    case End::kFailure:
      EXPECT_EQ(status, Boom());
      break;
  }
}

void ExpectNothingIsLeft(const Round& round, End end) {
  EXPECT_EQ(round.held, 0);
  EXPECT_EQ(round.permits.Stats().held, 0);
  EXPECT_EQ(round.permits.Stats().waiters, 0);
  EXPECT_EQ(round.values, 0);
  EXPECT_LE(round.received, round.sent);
  EXPECT_TRUE(end != End::kByItself || round.received == round.sent);
  EXPECT_EQ(round.told + round.stopped, round.listeners);
}

Async<absl::Status> RunRound(Context ctx, uint32_t seed) {
  Round round;
  const End end = static_cast<End>(seed % kEnds);
  const Duration bound =
      end == End::kDeadline ? Duration(microseconds(seed * 37 % 3000)) : Duration(seconds(60));
  const CancelScope scope(ctx, Later(ctx.Now(), bound), "round");
  GroupResult result =
      co_await WithGroup(scope.context(), GroupOptions(), SpawnActors, &round, &scope, end, seed);
  ExpectEndedAsMeant(end, result.status);
  ExpectNothingIsLeft(round, end);
  EXPECT_EQ(ctx.executor().Stats().live, 1) << ctx.executor().Dump();
  co_return absl::OkStatus();
}

Async<absl::Status> RunRounds(Context ctx, uint32_t rounds) {
  for (uint32_t seed = 1; seed <= rounds; ++seed) {
    absl::Status ran = co_await RunRound(ctx, seed);
    if (testing::Test::HasFailure()) {
      co_return Error(absl::StatusCode::kAborted, "round " + std::to_string(seed));
    }
    if (!ran.ok()) co_return ran;
  }
  co_return absl::OkStatus();
}

uint32_t Rounds() {
  const char* text = std::getenv("NURSERY_STRESS_ROUNDS");
  return text == nullptr ? 200 : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
}

class StressTest : public testing::TestWithParam<int> {};

TEST_P(StressTest, NothingIsLostOrLeftHoweverARoundEnds) {
  ThreadExecutor executor(GetParam(), 4);
  const absl::Status status = executor.Run("stress", [](Context ctx) -> Async<absl::Status> {
    co_return co_await RunRounds(ctx, Rounds());
  });
  EXPECT_TRUE(status.ok()) << status;
}

INSTANTIATE_TEST_SUITE_P(Workers, StressTest, testing::Values(1, 2, 4, 64));

}  // namespace
}  // namespace nursery
