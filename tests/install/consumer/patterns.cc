// The five patterns, as a user of the installed package writes them.
#include <atomic>
#include <chrono>
#include <iostream>
#include <vector>

#include "nursery/core/check.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/parallel_map.h"
#include "nursery/core/pipeline.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/core/timeout.h"
#include "nursery/core/worker_pool.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::GroupOptions;
using nursery::GroupResult;
using nursery::StageOptions;
using Numbers = std::vector<int>;

Async<absl::Status> Add(Context ctx, int number, std::atomic<int>* sum) {
  co_await nursery::Yield();
  sum->fetch_add(number);
  co_return ctx.status();
}

// Each task has one of two permits.
Async<absl::Status> SpawnAll(nursery::Group& group, nursery::Semaphore* two,
                             std::atomic<int>* sum) {
  for (int number = 1; number <= 10; ++number) {
    absl::StatusOr<nursery::Permit> permit = co_await two->Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    absl::Status spawned = co_await group.SpawnWith(*std::move(permit), "add", Add, number, sum);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> Square(Context ctx, int number) {
  co_await nursery::Yield();
  if (ctx.cancelled()) co_return ctx.status();
  co_return number* number;
}

Async<absl::Status> SubmitAll(nursery::WorkerPool& pool, Context ctx, std::atomic<int>* sum) {
  for (int number = 1; number <= 10; ++number) {
    absl::Status accepted = co_await pool.Submit(ctx, "add", Add, number, sum);
    if (!accepted.ok()) co_return accepted;
  }
  co_return co_await pool.Drain(ctx);
}

Async<absl::Status> RunPatterns(Context ctx) {
  std::atomic<int> sum = 0;
  {
    nursery::Semaphore two(2);
    GroupResult added = co_await nursery::WithGroup(ctx, GroupOptions(), SpawnAll, &two, &sum);
    NURSERY_CHECK(added.status.ok() && sum == 55) << added.status.ToString();
  }
  const Numbers numbers = {1, 2, 3};
  const Numbers squares = {1, 4, 9};
  absl::StatusOr<Numbers> mapped =
      co_await nursery::ParallelMap(ctx, "square", StageOptions(2), numbers, Square);
  NURSERY_CHECK(mapped.ok() && *mapped == squares);
  auto plan = nursery::Pipeline<int>::FromVector("numbers", numbers)
                  .Then("square", StageOptions(2, 4), Square)
                  .Then("again", StageOptions(), Square);
  absl::StatusOr<Numbers> piped = co_await std::move(plan).Collect(ctx);
  NURSERY_CHECK(piped.ok() && piped->back() == 81);
  GroupResult pooled = co_await nursery::WithWorkerPool(
      ctx, "worker", nursery::WorkerPoolOptions(2, 4), SubmitAll, ctx, &sum);
  NURSERY_CHECK(pooled.status.ok() && sum == 110) << pooled.status.ToString();
  co_return absl::OkStatus();
}

Async<absl::Status> RunInTime(Context ctx) {
  co_return co_await nursery::WithTimeout(ctx, std::chrono::minutes(1), "patterns", RunPatterns);
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor(2);
  const absl::Status status = executor.Run("main", RunInTime);
  std::cout << status.ToString() << '\n';
  return status.ok() ? 0 : 1;
}
