// A library that is loaded later, and runs tasks.
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::Group;

Async<absl::Status> YieldOnce(Context context) {
  co_await nursery::Yield();
  co_return context.status();
}

Async<absl::Status> SpawnMany(Group& group) {
  for (int i = 0; i < 1000; ++i) {
    absl::Status spawned = co_await group.Spawn("yield", YieldOnce);
    if (!spawned.ok()) co_return spawned;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> RunGroup(Context context) {
  nursery::GroupResult result =
      co_await nursery::WithGroup(context, nursery::GroupOptions(), SpawnMany);
  co_return result.succeeded == 1000 ? result.status : absl::InternalError("some are missing");
}

}  // namespace

extern "C" bool RunTasks() { return nursery::ThreadExecutor(2).Run("plugin", RunGroup).ok(); }
