// Tasks that must all succeed, as with errgroup: the first failure cancels the others, and the
// scope returns when all have ended.
#include <iostream>

#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::Group;

Async<absl::Status> Build(Context ctx) {
  // Stands for work that takes long: whatever waits with the context ends when it is cancelled.
  co_return co_await nursery::UntilCancelled(ctx);
}

Async<absl::Status> Lint(Context) {
  co_await nursery::Yield();
  co_return nursery::Error(absl::StatusCode::kFailedPrecondition, "line 7 is too long");
}

Async<absl::Status> SpawnChecks(Group& group) {
  absl::Status spawned = co_await group.Spawn("build", Build);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("lint", Lint);
  co_return spawned;
}

Async<absl::Status> RunChecks(Context ctx) {
  nursery::GroupResult result =
      co_await nursery::WithGroup(ctx, nursery::GroupOptions(), SpawnChecks);
  for (const nursery::GroupError& error : result.errors) {
    std::cout << error.task << ": " << nursery::Message(error.status) << '\n';
  }
  std::cout << result.succeeded << " succeeded, " << result.error_count << " failed, "
            << result.cancelled << " cancelled\n";
  co_return result.status;
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor;
  return executor.Run("main", RunChecks).ok() ? 0 : 1;
}
