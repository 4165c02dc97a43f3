#include "nursery/core/parallel_map.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;

struct Trace {
  std::vector<int> calls;
  int64_t live = 0;
  int64_t peak = 0;
};

std::vector<int> Range(int n) {
  std::vector<int> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<int> Doubled(std::vector<int> values) {
  for (int& value : values) value *= 2;
  return values;
}

// Takes a random time; drops what is divisible by 5, and fails at 99.
Async<absl::StatusOr<std::optional<int>>> Double(Context ctx, int value, Trace* trace,
                                                 SeededExecutor* random) {
  trace->calls.push_back(value);
  trace->peak = std::max(trace->peak, ++trace->live);
  absl::Status slept = co_await Sleep(ctx, milliseconds(random->Random(4)));
  --trace->live;
  if (!slept.ok()) co_return slept;
  if (value == 99) co_return Error(absl::StatusCode::kDataLoss, "99");
  if (value > 0 && value % 5 == 0) co_return std::nullopt;
  co_return 2 * value;
}

Async<absl::StatusOr<int>> Wait(Context, int value, Trace* trace) {
  trace->calls.push_back(value);
  co_return value;
}

SEEDED_TEST(ParallelMapTest, AVectorInOrder) {
  Trace trace;
  const StageOptions options(static_cast<int64_t>(1 + executor.Random(4)),
                             static_cast<int64_t>(executor.Random(3)));
  absl::StatusOr<std::vector<int>> got =
      co_await ParallelMap(ctx, "double", options, Range(12), Double, &trace, &executor);
  EXPECT_EQ(got.value(), Doubled({0, 1, 2, 3, 4, 6, 7, 8, 9, 11}));
  EXPECT_LE(trace.peak, options.workers);
  std::sort(trace.calls.begin(), trace.calls.end());
  EXPECT_EQ(trace.calls, Range(12));
  co_return absl::OkStatus();
}

SEEDED_TEST(ParallelMapTest, AVectorAsReady) {
  Trace trace;
  StageOptions options(3, 1, /*is_ordered=*/false);
  absl::StatusOr<std::vector<int>> got =
      co_await ParallelMap(ctx, "double", options, Range(12), Double, &trace, &executor);
  std::sort(got->begin(), got->end());
  EXPECT_EQ(*got, Doubled({0, 1, 2, 3, 4, 6, 7, 8, 9, 11}));
  EXPECT_EQ(trace.peak, 3);
  co_return absl::OkStatus();
}

SEEDED_TEST(ParallelMapTest, NoElementsGiveNoResults) {
  Trace trace;
  absl::StatusOr<std::vector<int>> got =
      co_await ParallelMap(ctx, "double", StageOptions(3), Range(0), Double, &trace, &executor);
  EXPECT_TRUE(got.ok() && got->empty());
  co_return got.status();
}

SEEDED_TEST(ParallelMapTest, TheFirstErrorCancelsTheRest) {
  for (bool ordered : {false, true}) {
    Trace trace;
    std::vector<int> inputs = Range(40);
    inputs[3] = 99;
    absl::StatusOr<std::vector<int>> got = co_await ParallelMap(
        ctx, "double", StageOptions(3, 2, ordered), inputs, Double, &trace, &executor);
    EXPECT_EQ(got.status(), Error(absl::StatusCode::kDataLoss, "99"));
    EXPECT_EQ(trace.live, 0);
    EXPECT_LT(trace.calls.size(), 40u);
  }
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> ThrowAt3(Context, std::unique_ptr<int> value) {
  co_await Yield();
  if (*value == 3) throw std::runtime_error("3");
  co_return *value;
}

SEEDED_TEST(ParallelMapTest, AnExceptionIsAnErrorAndElementsMayOnlyBeMoved) {
  std::vector<std::unique_ptr<int>> inputs;
  for (int i = 0; i < 6; ++i) inputs.push_back(std::make_unique<int>(i));
  absl::StatusOr<std::vector<int>> got =
      co_await ParallelMap(ctx, "throw", StageOptions(2), std::move(inputs), ThrowAt3);
  EXPECT_EQ(got.status(), Error(absl::StatusCode::kInternal, "exception: 3"));
  co_return absl::OkStatus();
}

SEEDED_TEST(ParallelMapTest, ADeadlineEndsItAndLeavesNothing) {
  Trace trace;
  CancelScope scope(ctx, ctx.Now() + milliseconds(5), "scope");
  absl::StatusOr<std::vector<int>> got = co_await ParallelMap(
      scope.context(), "double", StageOptions(2, 1), Range(50), Double, &trace, &executor);
  EXPECT_TRUE(absl::IsDeadlineExceeded(got.status())) << got.status();
  EXPECT_EQ(trace.live, 0);
  co_return absl::OkStatus();
}

// A canceller may say anything, also what the end of a stream says.
SEEDED_TEST(ParallelMapTest, ACancelIsNeverTakenForTheEnd) {
  const CancelScope scope(ctx);
  const absl::Status said = Error(absl::StatusCode::kOutOfRange, "enough");
  auto body = [](Group& group, const CancelScope* of, absl::Status word) -> Async<absl::Status> {
    auto cancel = [](Context context, const CancelScope* it,
                     absl::Status why) -> Async<absl::Status> {
      absl::Status slept = co_await Sleep(context, milliseconds(5));
      it->Cancel(Cause(CauseKind::kExplicit, why));
      co_return slept;
    };
    absl::Status spawned = group.TrySpawn("cancel", cancel, of, word);
    if (!spawned.ok()) co_return spawned;
    auto [sender, receiver] = MakeChannel<int>(1);
    absl::Status sent = sender.TrySend(1);
    Trace trace;
    absl::StatusOr<std::vector<int>> got =
        co_await ParallelMap(of->context(), "wait", StageOptions(2), receiver, Wait, &trace);
    EXPECT_EQ(got.status(), word);
    EXPECT_EQ(trace.calls.size(), 1u);
    co_return sent;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &scope, said);
  co_return result.status;
}

SEEDED_TEST(ParallelMapTest, OptionsThatMakeNoSenseAreRefused) {
  Trace trace;
  for (const StageOptions& options : {StageOptions(0), StageOptions(1, -1),
                                      StageOptions(2, std::numeric_limits<int64_t>::max())}) {
    absl::StatusOr<std::vector<int>> got =
        co_await ParallelMap(ctx, "double", options, Range(3), Double, &trace, &executor);
    EXPECT_TRUE(absl::IsInvalidArgument(got.status())) << got.status();
    auto [sender, receiver] = MakeChannel<int>(3);
    absl::Status done = co_await ParallelMapInto(ctx, "double", options, Range(3),
                                                 std::move(sender), Double, &trace, &executor);
    EXPECT_TRUE(absl::IsInvalidArgument(done)) << done;
  }
  EXPECT_TRUE(trace.calls.empty());
  co_return absl::OkStatus();
}

struct Stream {
  int64_t sent = 0;
  int64_t most_under_way = 0;
  std::vector<int> got;
};

Async<absl::Status> Produce(Context ctx, Sender<int> out, Stream* stream, int count) {
  for (int i = 0; i < count; ++i) {
    absl::Status sent = co_await out.Send(ctx, i);
    if (!sent.ok()) co_return sent;
    const int64_t under_way = ++stream->sent - static_cast<int64_t>(stream->got.size());
    stream->most_under_way = std::max(stream->most_under_way, under_way);
  }
  co_return absl::OkStatus();
}

Async<absl::Status> ConsumeSlowly(Context ctx, Receiver<int> in, Stream* stream,
                                  SeededExecutor* random) {
  for (;;) {
    absl::StatusOr<int> value = co_await in.Receive(ctx);
    if (absl::IsOutOfRange(value.status())) co_return absl::OkStatus();
    if (!value.ok()) co_return value.status();
    stream->got.push_back(*value);
    absl::Status slept = co_await Sleep(ctx, milliseconds(random->Random(3)));
    if (!slept.ok()) co_return slept;
  }
}

Async<absl::StatusOr<int>> Negate(Context ctx, int value, SeededExecutor* random) {
  absl::Status slept = co_await Sleep(ctx, milliseconds(random->Random(3)));
  if (!slept.ok()) co_return slept;
  co_return -value;
}

Async<absl::Status> MapStream(Group& group, StageOptions options, Stream* stream,
                              SeededExecutor* random) {
  auto [numbers, in] = MakeChannel<int>(0);
  auto [results, out] = MakeChannel<int>(0);
  absl::Status spawned = co_await group.Spawn("produce", Produce, std::move(numbers), stream, 20);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("consume", ConsumeSlowly, std::move(out), stream, random);
  if (!spawned.ok()) co_return spawned;
  co_return co_await ParallelMapInto(group.context(), "negate", options, std::move(in),
                                     std::move(results), Negate, random);
}

SEEDED_TEST(ParallelMapTest, AStreamIsNeverHeldAsAWhole) {
  for (bool ordered : {false, true}) {
    Stream stream;
    const StageOptions options(2, 2, ordered);
    GroupResult result =
        co_await WithGroup(ctx, GroupOptions(), MapStream, options, &stream, &executor);
    if (!result.status.ok()) co_return result.status;
    if (!ordered) std::sort(stream.got.begin(), stream.got.end(), std::greater<int>());
    std::vector<int> expected = Range(20);
    for (int& value : expected) value = -value;
    EXPECT_EQ(stream.got, expected);
    // One is with the consumer's hands, the rest in the stage.
    EXPECT_LE(stream.most_under_way, 2 + 2 + 1);
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(ParallelMapTest, AStreamIntoAVector) {
  auto body = [](Group& group, Stream* stream, std::vector<int>* got,
                 SeededExecutor* random) -> Async<absl::Status> {
    auto [numbers, in] = MakeChannel<int>(3);
    absl::Status spawned = co_await group.Spawn("produce", Produce, std::move(numbers), stream, 10);
    absl::StatusOr<std::vector<int>> results = co_await ParallelMap(
        group.context(), "negate", StageOptions(3), std::move(in), Negate, random);
    if (!results.ok()) co_return results.status();
    *got = *results;
    co_return spawned;
  };
  Stream stream;
  std::vector<int> got;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, &stream, &got, &executor);
  EXPECT_EQ(got.size(), 10u);
  EXPECT_TRUE(std::is_sorted(got.rbegin(), got.rend()));
  co_return result.status;
}

Async<absl::StatusOr<int64_t>> SquareOnThreads(Context ctx, int value) {
  if (value % 3 == 0) co_await Yield();
  if (ctx.cancelled()) co_return ctx.status();
  co_return int64_t{value} * value;
}

TEST(ParallelMapStressTest, LongVectorsOnThreads) {
  ThreadExecutor executor(2);
  absl::Status status = executor.Run("stress", [](Context ctx) -> Async<absl::Status> {
    for (bool ordered : {false, true}) {
      absl::StatusOr<std::vector<int64_t>> got = co_await ParallelMap(
          ctx, "square", StageOptions(4, 8, ordered), Range(5000), SquareOnThreads);
      if (!got.ok()) co_return got.status();
      EXPECT_TRUE(!ordered || std::is_sorted(got->begin(), got->end()));
      std::sort(got->begin(), got->end());
      EXPECT_EQ(got->size(), 5000u);
      EXPECT_EQ(std::unique(got->begin(), got->end()), got->end());
    }
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
