#include "nursery/core/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "nursery/core/blocking.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Trace {
  int64_t live = 0;
  int64_t peak = 0;
  std::vector<int> started;
  int64_t ended = 0;
};

absl::Status Boom() { return Error(absl::StatusCode::kDataLoss, "boom"); }

// Takes a second; job 13 fails.
Async<absl::Status> Job(Context ctx, Trace* trace, int id) {
  trace->started.push_back(id);
  trace->peak = std::max(trace->peak, ++trace->live);
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  --trace->live;
  ++trace->ended;
  if (slept.ok() && id == 13) co_return Boom();
  co_return slept;
}

Async<absl::Status> SubmitRange(WorkerPool& pool, Context ctx, Trace* trace, int from, int to) {
  for (int id = from; id < to; ++id) {
    absl::Status accepted = co_await pool.Submit(ctx, "job " + std::to_string(id), Job, trace, id);
    if (!accepted.ok()) co_return accepted;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(WorkerPoolTest, EveryAcceptedJobRunsOnceAndSoManyAtOnce) {
  Trace trace;
  const auto queue = static_cast<int64_t>(executor.Random(4));
  const Time start = ctx.Now();
  GroupResult result = co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(3, queue),
                                               SubmitRange, ctx, &trace, 0, 12);
  EXPECT_EQ(result.succeeded, 12);
  EXPECT_EQ(trace.peak, 3);
  EXPECT_EQ(trace.live, 0);
  EXPECT_EQ(ctx.Now() - start, seconds(4));
  std::sort(trace.started.begin(), trace.started.end());
  EXPECT_EQ(std::unique(trace.started.begin(), trace.started.end()), trace.started.end());
  co_return result.status;
}

SEEDED_TEST(WorkerPoolTest, JobsStartInTheOrderOfTheirSubmits) {
  Trace trace;
  GroupResult result = co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 2), SubmitRange,
                                               ctx, &trace, 0, 6);
  EXPECT_EQ(trace.started, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  co_return result.status;
}

SEEDED_TEST(WorkerPoolTest, SubmitWaitsAndTrySubmitRefusesWhenTheQueueIsFull) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status filled = co_await SubmitRange(pool, of, trace, 0, 3);
    EXPECT_EQ(pool.TrySubmit("one more", Job, trace, 3),
              Error(absl::StatusCode::kResourceExhausted,
                    "the pool's queue is full: 2 jobs wait for 1 workers"));
    EXPECT_EQ(pool.Stats().busy, 1);
    EXPECT_EQ(pool.Stats().queued, 2);
    {
      CancelScope patience(of, of.Now() + milliseconds(500), "patience");
      absl::Status refused = co_await pool.Submit(patience.context(), "job", Job, trace, 4);
      EXPECT_TRUE(absl::IsDeadlineExceeded(refused)) << refused;
    }
    absl::Status accepted = co_await pool.Submit(of, "job", Job, trace, 5);
    EXPECT_EQ(pool.Stats().succeeded, 1);
    co_return filled.ok() ? accepted : filled;
  };
  Trace trace;
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 2), body, ctx, &trace);
  EXPECT_EQ(trace.started, (std::vector<int>{0, 1, 2, 5}));
  co_return result.status;
}

SEEDED_TEST(WorkerPoolTest, DrainWaitsForWhatWasAcceptedAndRefusesTheRest) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status filled = co_await SubmitRange(pool, of, trace, 0, 5);
    absl::Status drained = co_await pool.Drain(of);
    EXPECT_EQ(trace->ended, 5);
    const absl::Status closed =
        Error(absl::StatusCode::kFailedPrecondition,
              "the pool takes no more jobs: it is being drained, or has stopped");
    EXPECT_EQ(pool.TrySubmit("late", Job, trace, 6), closed);
    absl::Status late = co_await pool.Submit(of, "late", Job, trace, 7);
    EXPECT_EQ(late, closed);
    absl::Status again = co_await pool.Drain(of);
    EXPECT_TRUE(again.ok()) << again;
    co_return filled.ok() ? drained : filled;
  };
  Trace trace;
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(2, 3), body, ctx, &trace);
  EXPECT_EQ(result.succeeded, 5);
  co_return result.status;
}

SEEDED_TEST(WorkerPoolTest, StopCancelsWhatRunsAndDropsTheQueue) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status filled = co_await SubmitRange(pool, of, trace, 0, 5);
    while (trace->live < 2) co_await Yield();
    absl::Status stopped = co_await pool.Stop(of, "enough");
    EXPECT_EQ(trace->live, 0);
    EXPECT_EQ(trace->ended, 2);
    absl::Status again = co_await pool.Stop(of, "again");
    EXPECT_TRUE(again.ok()) << again;
    EXPECT_TRUE(absl::IsFailedPrecondition(pool.TrySubmit("late", Job, trace, 6)));
    co_return filled.ok() ? stopped : filled;
  };
  Trace trace;
  const Time start = ctx.Now();
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(2, 3), body, ctx, &trace);
  EXPECT_EQ(result.status, Error(absl::StatusCode::kCancelled, "enough"));
  EXPECT_EQ(result.cancelled, 5);
  EXPECT_EQ(result.error_count, 0);
  EXPECT_EQ(ctx.Now(), start);
  co_return absl::OkStatus();
}

Async<absl::Status> Throw(Context) {
  co_await Yield();
  throw std::runtime_error("thrown");
}

SEEDED_TEST(WorkerPoolTest, CollectGoesOnAndKeepsTheErrors) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status one = co_await pool.Submit(of, "thrower", Throw);
    absl::Status rest = co_await SubmitRange(pool, of, trace, 12, 15);
    co_return one.ok() ? rest : one;
  };
  Trace trace;
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 0), body, ctx, &trace);
  EXPECT_EQ(result.status, Error(absl::StatusCode::kInternal, "exception: thrown"));
  EXPECT_EQ(result.succeeded, 2);
  EXPECT_EQ(result.error_count, 2);
  EXPECT_EQ(result.errors[1].task, "job 13");
  EXPECT_EQ(result.errors[1].status, Boom());
  co_return absl::OkStatus();
}

SEEDED_TEST(WorkerPoolTest, AllStopsAtTheFirstError) {
  Trace trace;
  WorkerPoolOptions options(2, 4);
  options.join = Join::All();
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", options, SubmitRange, ctx, &trace, 12, 40);
  EXPECT_EQ(result.status, Boom());
  EXPECT_EQ(trace.live, 0);
  EXPECT_EQ(result.error_count, 1);
  EXPECT_LT(trace.started.size(), 5u);
  co_return absl::OkStatus();
}

SEEDED_TEST(WorkerPoolTest, AFailingBodyStopsThePool) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status filled = co_await SubmitRange(pool, of, trace, 0, 4);
    co_return filled.ok() ? Boom() : filled;
  };
  Trace trace;
  const Time start = ctx.Now();
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 3), body, ctx, &trace);
  EXPECT_EQ(result.status, Boom());
  EXPECT_EQ(result.cancelled, 4);
  EXPECT_EQ(ctx.Now(), start);
  co_return absl::OkStatus();
}

SEEDED_TEST(WorkerPoolTest, AJobDoesNotWaitForItsOwnPool) {
  auto job = [](Context of, WorkerPool* pool, Trace* trace) -> Async<absl::Status> {
    absl::Status submitted = co_await pool->Submit(of, "inner", Job, trace, 1);
    absl::Status drained = co_await pool->Drain(of);
    absl::Status stopped = co_await pool->Stop(of, "no");
    for (const absl::Status& status : {submitted, drained, stopped}) {
      EXPECT_EQ(status, Error(absl::StatusCode::kFailedPrecondition,
                              "a job may not wait for its own pool; it uses TrySubmit"));
    }
    co_return pool->TrySubmit("inner", Job, trace, 2);
  };
  auto body = [](WorkerPool& pool, Context of, Trace* trace,
                 decltype(job) run) -> Async<absl::Status> {
    absl::Status accepted = co_await pool.Submit(of, "outer", run, &pool, trace);
    if (!accepted.ok()) co_return accepted;
    while (trace->started.empty()) co_await Yield();
    co_return absl::OkStatus();
  };
  Trace trace;
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 1), body, ctx, &trace, job);
  EXPECT_EQ(trace.started, std::vector<int>{2});
  co_return result.status;
}

// Nor by the context of whoever has submitted it.
SEEDED_TEST(WorkerPoolTest, AJobDoesNotWaitForItsOwnPoolByAnotherContext) {
  auto job = [](Context, WorkerPool* pool, Context outer) -> Async<absl::Status> {
    Trace* const none = nullptr;
    absl::Status submitted = co_await pool->Submit(outer, "inner", Job, none, 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(submitted)) << submitted;
    absl::Status drained = co_await pool->Drain(outer);
    EXPECT_TRUE(absl::IsFailedPrecondition(drained)) << drained;
    co_return absl::OkStatus();
  };
  auto body = [](WorkerPool& pool, Context of, decltype(job) run) -> Async<absl::Status> {
    co_return co_await pool.Submit(of, "outer", run, &pool, of);
  };
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 0), body, ctx, job);
  co_return result.status;
}

// Nor through the pool of a job of it.
SEEDED_TEST(WorkerPoolTest, WhatRunsBelowAJobDoesNotWaitForItsPool) {
  auto innermost = [](Context of, WorkerPool* outer) -> Async<absl::Status> {
    Trace* const none = nullptr;
    absl::Status submitted = co_await outer->Submit(of, "again", Job, none, 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(submitted)) << submitted;
    absl::Status drained = co_await outer->Drain(of);
    EXPECT_TRUE(absl::IsFailedPrecondition(drained)) << drained;
    co_return absl::OkStatus();
  };
  auto inner_body = [](WorkerPool& inner, Context of, WorkerPool* outer,
                       decltype(innermost) run) -> Async<absl::Status> {
    co_return co_await inner.Submit(of, "innermost", run, outer);
  };
  auto job = [](Context of, WorkerPool* outer, decltype(inner_body) body,
                decltype(innermost) run) -> Async<absl::Status> {
    GroupResult inner =
        co_await WithWorkerPool(of, "inner", WorkerPoolOptions(1, 0), body, of, outer, run);
    EXPECT_EQ(inner.succeeded, 1);
    co_return inner.status;
  };
  auto outer_body = [](WorkerPool& outer, Context of, decltype(job) run, decltype(inner_body) body,
                       decltype(innermost) last) -> Async<absl::Status> {
    co_return co_await outer.Submit(of, "job", run, &outer, body, last);
  };
  GroupResult result = co_await WithWorkerPool(ctx, "outer", WorkerPoolOptions(1, 0), outer_body,
                                               ctx, job, inner_body, innermost);
  EXPECT_EQ(result.succeeded, 1);
  co_return result.status;
}

// The words of the queue and those of a canceller may be the same.
SEEDED_TEST(WorkerPoolTest, ACancelledSubmitGivesWhatTheCancellerSaid) {
  auto body = [](WorkerPool& pool, Context of, Trace* trace) -> Async<absl::Status> {
    absl::Status accepted = co_await pool.Submit(of, "long", Job, trace, 1);
    const CancelScope impatient(of);
    const absl::Status said = Error(absl::StatusCode::kResourceExhausted, "out of patience");
    impatient.Cancel(Cause(CauseKind::kExplicit, said));
    const Context cancelled = impatient.context();
    absl::Status late = co_await pool.Submit(cancelled, "late", Job, trace, 2);
    EXPECT_EQ(late, said);
    co_return accepted;
  };
  Trace trace;
  GroupResult result =
      co_await WithWorkerPool(ctx, "worker", WorkerPoolOptions(1, 0), body, ctx, &trace);
  EXPECT_EQ(result.succeeded, 1);
  co_return result.status;
}

SEEDED_TEST(WorkerPoolTest, ACancelFromOutsideEndsEverything) {
  CancelScope scope(ctx, ctx.Now() + milliseconds(1500), "scope");
  Trace trace;
  GroupResult result = co_await WithWorkerPool(scope.context(), "worker", WorkerPoolOptions(2, 4),
                                               SubmitRange, ctx, &trace, 0, 6);
  EXPECT_EQ(result.status,
            Error(absl::StatusCode::kDeadlineExceeded, "deadline of scope exceeded"));
  EXPECT_EQ(result.succeeded, 2);
  EXPECT_EQ(result.succeeded + result.error_count + result.cancelled, 6);
  EXPECT_EQ(trace.live, 0);
  co_return absl::OkStatus();
}

SEEDED_TEST(WorkerPoolTest, OptionsThatMakeNoSenseAreRefused) {
  Trace trace;
  WorkerPoolOptions any(1, 1);
  any.join = Join::Any();
  for (WorkerPoolOptions options : {WorkerPoolOptions(0, 1), WorkerPoolOptions(1, -1), any}) {
    GroupResult result =
        co_await WithWorkerPool(ctx, "worker", options, SubmitRange, ctx, &trace, 0, 1);
    EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
  }
  EXPECT_TRUE(trace.started.empty());
  co_return absl::OkStatus();
}

struct Tally {
  int64_t accepted = 0;
  int64_t refused = 0;
};

Async<absl::Status> SubmitSome(Context ctx, WorkerPool* pool, Trace* trace, Tally* tally,
                               SeededExecutor* random) {
  for (int i = 0; i < 5; ++i) {
    absl::Status accepted = co_await pool->Submit(ctx, "job", Job, trace, i);
    EXPECT_TRUE(accepted.ok() || absl::IsFailedPrecondition(accepted)) << accepted;
    ++(accepted.ok() ? tally->accepted : tally->refused);
    absl::Status slept = co_await Sleep(ctx, milliseconds(random->Random(900)));
    if (!slept.ok()) co_return slept;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnSubmitters(Group& group, WorkerPool* pool, Trace* trace, Tally* tally,
                                    SeededExecutor* random) {
  for (int i = 0; i < 3; ++i) {
    absl::Status spawned =
        co_await group.Spawn("submitter", SubmitSome, pool, trace, tally, random);
    if (!spawned.ok()) co_return spawned;
  }
  const bool drain = random->Random(2) == 0;
  absl::Status slept = co_await Sleep(group.context(), milliseconds(random->Random(6000)));
  if (!slept.ok()) co_return slept;
  absl::Status closed;
  if (drain) {
    closed = co_await pool->Drain(group.context());
  } else {
    closed = co_await pool->Stop(group.context(), "enough");
  }
  EXPECT_EQ(trace->live, 0);
  co_return closed;
}

Async<absl::Status> SubmitFromMany(WorkerPool& pool, Context ctx, Trace* trace, Tally* tally,
                                   SeededExecutor* random) {
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), SpawnSubmitters, &pool, trace, tally, random);
  co_return result.status;
}

// Whenever the end comes, every job that was accepted is accounted for.
SEEDED_TEST(WorkerPoolTest, NoAcceptedJobIsLostWhenThePoolIsDrainedOrStopped) {
  executor.BeSlow();
  Trace trace;
  Tally tally;
  const WorkerPoolOptions options(2, static_cast<int64_t>(executor.Random(3)));
  GroupResult result = co_await WithWorkerPool(ctx, "worker", options, SubmitFromMany, ctx, &trace,
                                               &tally, &executor);
  EXPECT_EQ(tally.accepted + tally.refused, 15);
  EXPECT_EQ(result.succeeded + result.cancelled, tally.accepted);
  EXPECT_EQ(result.error_count, 0);
  EXPECT_TRUE(!result.status.ok() || result.cancelled == 0);
  EXPECT_EQ(trace.ended, static_cast<int64_t>(trace.started.size()));
  co_return absl::OkStatus();
}

Async<absl::Status> BlockAndCount(Context ctx, std::atomic<int>* ran) {
  auto work = [ran] {
    ran->fetch_add(1);
    return absl::OkStatus();
  };
  absl::Status done = co_await RunBlocking(ctx, std::move(work));
  co_return done;
}

TEST(WorkerPoolStressTest, ManyJobsOnThreads) {
  ThreadExecutor executor(2);
  auto body = [](WorkerPool& pool, Context ctx, std::atomic<int>* ran) -> Async<absl::Status> {
    for (int i = 0; i < 3000; ++i) {
      absl::Status accepted = co_await pool.Submit(ctx, "job", BlockAndCount, ran);
      if (!accepted.ok()) co_return accepted;
    }
    co_return co_await pool.Drain(ctx);
  };
  std::atomic<int> ran = 0;
  absl::Status status = executor.Run("stress", [&](Context ctx) {
    return [](Context root, decltype(body) submit, std::atomic<int>* of) -> Async<absl::Status> {
      GroupResult result =
          co_await WithWorkerPool(root, "worker", WorkerPoolOptions(4, 8), submit, root, of);
      EXPECT_EQ(result.succeeded, 3000);
      co_return result.status;
    }(std::move(ctx), body, &ran);
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(ran, 3000);
}

}  // namespace
}  // namespace nursery
