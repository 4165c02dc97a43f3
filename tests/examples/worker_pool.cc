// Jobs that come one by one: two workers, and a queue of four that holds up whoever submits faster
// than they work. One job may fail without ending the others.
#include "nursery/core/worker_pool.h"

#include <iostream>
#include <string>

#include "nursery/core/executor.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::WorkerPool;

Async<absl::Status> Resize(Context ctx, int photo) {
  co_await nursery::Yield();  // here, what takes long; what blocks goes through RunBlocking
  if (photo == 4) co_return nursery::Error(absl::StatusCode::kInvalidArgument, "not an image");
  co_return ctx.status();
}

Async<absl::Status> SubmitPhotos(WorkerPool& pool, Context ctx) {
  for (int photo = 1; photo <= 6; ++photo) {
    const std::string name = "photo[" + std::to_string(photo) + "]";
    absl::Status accepted = co_await pool.Submit(ctx, name, Resize, photo);
    if (!accepted.ok()) co_return accepted;
  }
  co_return absl::OkStatus();  // the pool finishes what it has accepted
}

Async<absl::Status> ResizePhotos(Context ctx) {
  nursery::WorkerPoolOptions options(2, 4);
  options.join = nursery::Join::MaxFailures(1);
  nursery::GroupResult result =
      co_await nursery::WithWorkerPool(ctx, "resize", options, SubmitPhotos, ctx);
  for (const nursery::GroupError& error : result.errors) {
    std::cout << error.task << ": " << nursery::Message(error.status) << '\n';
  }
  std::cout << result.succeeded << " resized, " << result.error_count << " failed\n";
  co_return result.status;
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor;
  return executor.Run("main", ResizePhotos).ok() ? 0 : 1;
}
