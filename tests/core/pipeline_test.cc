#include "nursery/core/pipeline.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
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
  int64_t generated = 0;
  int64_t most_under_way = 0;
  std::map<int, int> squared;
  std::vector<int> got;
  int64_t live = 0;
};

Async<absl::Status> Generate(Context ctx, Sender<int> out, Trace* trace, int count) {
  for (int i = 0; i < count; ++i) {
    absl::Status sent = co_await out.Send(ctx, i);
    if (!sent.ok()) co_return sent;
    const int64_t under_way = ++trace->generated - static_cast<int64_t>(trace->got.size());
    trace->most_under_way = std::max(trace->most_under_way, under_way);
  }
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> Square(Context ctx, int value, Trace* trace, SeededExecutor* random) {
  ++trace->live;
  ++trace->squared[value];
  absl::Status slept = co_await Sleep(ctx, milliseconds(random->Random(3)));
  --trace->live;
  if (!slept.ok()) co_return slept;
  co_return value* value;
}

Async<absl::StatusOr<std::optional<std::string>>> KeepEven(Context ctx, int value) {
  co_await Yield();
  if (ctx.cancelled()) co_return ctx.status();
  if (value % 2 != 0) co_return std::nullopt;
  co_return std::to_string(value);
}

// Fails at `bad`.
Async<absl::Status> Store(Context ctx, std::string text, Trace* trace, std::string bad) {
  co_await Yield();
  if (text == bad) co_return Error(absl::StatusCode::kDataLoss, "bad " + text);
  trace->got.push_back(std::stoi(text));
  co_return ctx.status();
}

Pipeline<std::string> EvenSquares(Trace* trace, SeededExecutor* random, int count, bool ordered) {
  return Pipeline<int>::From("generate", Generate, trace, count)
      .Then("square", StageOptions(3, 2, ordered), Square, trace, random)
      .Then("even", StageOptions(2, 1, ordered), KeepEven);
}

std::vector<int> ExpectedSquares(int count) {
  std::vector<int> squares;
  for (int i = 0; i < count; i += 2) squares.push_back(i * i);
  return squares;
}

SEEDED_TEST(PipelineTest, NoElementIsLostOrProcessedTwice) {
  for (bool ordered : {false, true}) {
    Trace trace;
    absl::Status status = co_await EvenSquares(&trace, &executor, 15, ordered)
                              .Each(ctx, Store, &trace, std::string("none"));
    if (!status.ok()) co_return status;
    if (!ordered) std::sort(trace.got.begin(), trace.got.end());
    EXPECT_EQ(trace.got, ExpectedSquares(15));
    EXPECT_EQ(trace.squared.size(), 15u);
    for (const auto& [value, times] : trace.squared) EXPECT_EQ(times, 1) << value;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(PipelineTest, CollectGivesWhatComesOut) {
  Trace trace;
  Pipeline<std::string> plan = EvenSquares(&trace, &executor, 8, true);
  absl::StatusOr<std::vector<std::string>> got = co_await std::move(plan).Collect(ctx);
  EXPECT_EQ(got.value(), (std::vector<std::string>{"0", "4", "16", "36"}));
  co_return absl::OkStatus();
}

SEEDED_TEST(PipelineTest, AVectorIntoAChannel) {
  auto [sender, receiver] = MakeChannel<std::string>(4);
  Pipeline<std::string> plan =
      Pipeline<int>::FromVector("numbers", {2, 3, 4, 5, 6}).Then("even", StageOptions(2), KeepEven);
  absl::Status status = co_await std::move(plan).Into(ctx, std::move(sender));
  std::vector<std::string> got;
  absl::Status received =
      co_await internal::ReceiveAll<std::string>(ctx, std::move(receiver), &got);
  EXPECT_EQ(got, (std::vector<std::string>{"2", "4", "6"}));
  co_return status.ok() ? received : status;
}

SEEDED_TEST(PipelineTest, ASlowEndHoldsUpTheSource) {
  auto slow = [](Context of, int value, Trace* trace) -> Async<absl::Status> {
    trace->got.push_back(value);
    co_return co_await Sleep(of, milliseconds(5));
  };
  auto same = [](Context of, int value) -> Async<absl::StatusOr<int>> {
    if (of.cancelled()) co_return of.status();
    co_return value;
  };
  Trace trace;
  absl::Status status = co_await Pipeline<int>::From("generate", Generate, &trace, 40)
                            .Then("one", StageOptions(2, 2), same)
                            .Then("two", StageOptions(1, 3), same)
                            .Each(ctx, slow, &trace);
  EXPECT_EQ(trace.got.size(), 40u);
  // In the first stage 2 + 2 and its buffer, 2; in the second 1, and 3 behind it; one that is sent.
  EXPECT_LE(trace.most_under_way, 4 + 2 + 1 + 3 + 1);
  co_return status;
}

SEEDED_TEST(PipelineTest, TheFirstErrorStopsAll) {
  Trace trace;
  absl::Status status = co_await EvenSquares(&trace, &executor, 1000, true)
                            .Each(ctx, Store, &trace, std::string("16"));
  EXPECT_EQ(status, Error(absl::StatusCode::kDataLoss, "bad 16"));
  EXPECT_EQ(trace.got, (std::vector<int>{0, 4}));
  EXPECT_EQ(trace.live, 0);
  EXPECT_LT(trace.generated, 100);
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> ThrowAt7(Context, int value) {
  co_await Yield();
  if (value == 7) throw std::runtime_error("seven");
  co_return value;
}

Async<absl::Status> GenerateAndFail(Context ctx, Sender<int> out, Trace* trace) {
  absl::Status generated = co_await Generate(ctx, std::move(out), trace, 3);
  if (!generated.ok()) co_return generated;
  co_return Error(absl::StatusCode::kUnavailable, "no more");
}

SEEDED_TEST(PipelineTest, ErrorsOfSourcesAndExceptionsOfStagesAreTheResult) {
  Trace trace;
  absl::StatusOr<std::vector<int>> thrown =
      co_await Pipeline<int>::From("generate", Generate, &trace, 500)
          .Then("throw", StageOptions(2), ThrowAt7)
          .Collect(ctx);
  EXPECT_EQ(thrown.status(), Error(absl::StatusCode::kInternal, "exception: seven"));
  absl::StatusOr<std::vector<int>> cut =
      co_await Pipeline<int>::From("generate", GenerateAndFail, &trace)
          .Then("throw", StageOptions(2), ThrowAt7)
          .Collect(ctx);
  EXPECT_EQ(cut.status(), Error(absl::StatusCode::kUnavailable, "no more"));
  co_return absl::OkStatus();
}

SEEDED_TEST(PipelineTest, ADeadlineEndsItAndLeavesNothing) {
  executor.BeSlow();
  Trace trace;
  CancelScope scope(ctx, ctx.Now() + milliseconds(executor.Random(20)), "scope");
  absl::Status status = co_await EvenSquares(&trace, &executor, 1000, executor.Random(2) == 0)
                            .Each(scope.context(), Store, &trace, std::string("none"));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_EQ(trace.live, 0);
  co_return absl::OkStatus();
}

SEEDED_TEST(PipelineTest, APlanIsUsedUpByItsRun) {
  Trace trace;
  Pipeline<int> plan = Pipeline<int>::From("generate", Generate, &trace, 3);
  absl::StatusOr<std::vector<int>> first = co_await std::move(plan).Collect(ctx);
  EXPECT_EQ(first->size(), 3u);
  // NOLINTNEXTLINE(bugprone-use-after-move): that is what is tested
  absl::StatusOr<std::vector<int>> second = co_await std::move(plan).Collect(ctx);
  EXPECT_EQ(second.status(),
            Error(absl::StatusCode::kFailedPrecondition,
                  "the pipeline was used up before: it runs, or is extended, once"));
  auto [sender, receiver] = MakeChannel<int>(0);
  // NOLINTNEXTLINE(bugprone-use-after-move): that is what is tested
  absl::Status third = co_await std::move(plan).Into(ctx, std::move(sender));
  EXPECT_EQ(third, second.status());
  co_return absl::OkStatus();
}

SEEDED_TEST(PipelineTest, OptionsThatMakeNoSenseAreRefused) {
  const std::vector<int> numbers = {1, 2};
  for (const StageOptions& options : {StageOptions(0), StageOptions(1, -1)}) {
    absl::StatusOr<std::vector<std::string>> got =
        co_await Pipeline<int>::FromVector("numbers", numbers)
            .Then("even", options, KeepEven)
            .Collect(ctx);
    EXPECT_TRUE(absl::IsInvalidArgument(got.status())) << got.status();
    EXPECT_TRUE(Message(got.status()).starts_with("even has at least 1 worker"));
  }
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> Increment(Context ctx, int value) {
  if (value % 7 == 0) co_await Yield();
  if (ctx.cancelled()) co_return ctx.status();
  co_return value + 1;
}

TEST(PipelineStressTest, ManyElementsOnThreads) {
  ThreadExecutor executor(2);
  absl::Status status = executor.Run("stress", [](Context ctx) -> Async<absl::Status> {
    for (bool ordered : {false, true}) {
      Trace trace;
      absl::StatusOr<std::vector<int>> got =
          co_await Pipeline<int>::From("generate", Generate, &trace, 5000)
              .Then("one", StageOptions(3, 4, ordered), Increment)
              .Then("two", StageOptions(2, 0, ordered), Increment)
              .Collect(ctx);
      if (!got.ok()) co_return got.status();
      if (!ordered) std::sort(got->begin(), got->end());
      std::vector<int> expected(5000);
      std::iota(expected.begin(), expected.end(), 2);
      EXPECT_EQ(*got, expected);
    }
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace nursery
