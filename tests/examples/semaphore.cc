// A scarce resource: ten queries over three connections. The permit is taken before the task is
// spawned and moves into it, so that there are never more tasks than permits.
#include "nursery/core/semaphore.h"

#include <atomic>
#include <chrono>
#include <iostream>

#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::Group;
using nursery::Permit;
using nursery::Semaphore;

constexpr int kConnections = 3;

Async<absl::Status> Query(Context ctx, std::atomic<int>* running) {
  if (++*running > kConnections) {
    co_return nursery::Error(absl::StatusCode::kInternal, "more queries than connections");
  }
  absl::Status slept = co_await nursery::Sleep(ctx, std::chrono::milliseconds(1));
  --*running;
  co_return slept;
}

Async<absl::Status> SpawnQueries(Group& group, Semaphore* connections, std::atomic<int>* running) {
  for (int i = 0; i < 10; ++i) {
    absl::StatusOr<Permit> permit = co_await connections->Acquire(group.context());
    if (!permit.ok()) co_return permit.status();
    absl::Status spawned = co_await group.SpawnWith(*std::move(permit), "query", Query, running);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> RunQueries(Context ctx) {
  Semaphore connections(kConnections);
  std::atomic<int> running = 0;
  nursery::GroupResult result = co_await nursery::WithGroup(ctx, nursery::GroupOptions(),
                                                            SpawnQueries, &connections, &running);
  std::cout << result.succeeded << " queries, never more than " << kConnections << " at once\n";
  co_return result.status;
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor;
  return executor.Run("main", RunQueries).ok() ? 0 : 1;
}
