// WorkerPool: a fixed number of workers that take jobs from a bounded queue.
//
// WithWorkerPool opens the pool, runs `body` and returns when the body and all workers have ended.
// A body that succeeds leaves a pool that finishes what it has accepted; one that fails stops it.
// Every accepted job runs exactly once, unless the pool is stopped first. What blocks a thread goes
// through RunBlocking inside of its job.
//
// Thread safety: any task below the body. Lifetime: the WorkerPool& handed to the body is valid
// until WithWorkerPool returns. Suspends: Submit while the queue is full; Drain and Stop until the
// workers have ended. Resumes on: the executor. Cancellation: each returns the cause's status; the
// pool's own context cancels the running jobs, and those in the queue never start. Order: workers
// take jobs in the order in which they were accepted.
//
//   Async<absl::Status> ResizeAll(WorkerPool& pool, Context ctx, std::vector<std::string> paths) {
//     for (const std::string& path : paths) {
//       absl::Status accepted = co_await pool.Submit(ctx, path, Resize, path);
//       if (!accepted.ok()) co_return accepted;
//     }
//     co_return absl::OkStatus();
//   }
//   GroupResult resized =
//       co_await WithWorkerPool(ctx, "resize", WorkerPoolOptions(4, 64), ResizeAll, ctx, paths);
#ifndef NURSERY_CORE_WORKER_POOL_H_
#define NURSERY_CORE_WORKER_POOL_H_

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include "absl/functional/any_invocable.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/join.h"

namespace nursery {

struct WorkerPoolOptions {
  WorkerPoolOptions() = default;
  WorkerPoolOptions(int64_t the_workers, int64_t the_queue)
      : workers(the_workers), queue(the_queue) {}

  // At least 1.
  int64_t workers = 1;
  // Jobs that may wait for a worker; at 0 a job is accepted when a worker takes it.
  int64_t queue = 0;
  // What a failing job means: all (the first one stops the pool), collect or max_failures.
  Join join = Join::Collect();
};

struct WorkerPoolStats {
  int64_t workers = 0;
  int64_t busy = 0;
  int64_t queued = 0;
  int64_t succeeded = 0;
  int64_t failed = 0;
};

class WorkerPool {
 public:
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Queues `function(context, args...)`, which gives an Async<absl::Status>; its context is the
  // pool's. FAILED_PRECONDITION: the pool takes no more jobs, or the caller is a job of this pool,
  // which could wait for ever for itself and uses TrySubmit.
  template <class Function, class... Args>
  Async<absl::Status> Submit(Context context, std::string name, Function function, Args... args);
  // As Submit, but never waits: RESOURCE_EXHAUSTED when the queue is full.
  template <class Function, class... Args>
  absl::Status TrySubmit(std::string name, Function function, Args... args);

  // Takes no more jobs and waits until those that were accepted have ended. Gives the error that
  // stopped the pool, if one did.
  Async<absl::Status> Drain(Context context);
  // Takes no more jobs, drops those in the queue, cancels the running ones and waits until they
  // have ended. Can be repeated. The pool's result is then CANCELLED: `reason`.
  Async<absl::Status> Stop(Context context, std::string reason);

  WorkerPoolStats Stats() const NURSERY_EXCLUDES(mutex_);

 private:
  struct Job {
    using Run = absl::AnyInvocable<Async<absl::Status>(Context) &&>;
    Job(std::string the_name, Run the_run) : name(std::move(the_name)), run(std::move(the_run)) {}
    std::string name;
    Run run;
  };
  template <class Body, class... Args>
  friend Async<GroupResult> WithWorkerPool(Context context, TaskName name,
                                           WorkerPoolOptions options, Body body, Args... args);

  WorkerPool(const Context& context, WorkerPoolOptions options);

  template <class Body, class... Args>
  static Async<absl::Status> RunBody(Group& group, WorkerPool* pool, TaskName name, Body body,
                                     Args... args);
  template <class Function, class... Args>
  static Job MakeJob(std::string name, Function function, Args... args);
  static absl::Status Validate(const WorkerPoolOptions& options);
  static Async<absl::Status> Work(Context context, WorkerPool* pool, Receiver<Job> jobs,
                                  Sender<std::monostate> alive);

  absl::Status StartWorkers(Group& group, const TaskName& name);
  // Nothing when the pool takes no more jobs.
  std::optional<Sender<Job>> Intake() const NURSERY_EXCLUDES(mutex_);
  // What the status of a send means to a submitter.
  absl::Status Accepted(const absl::Status& sent) NURSERY_EXCLUDES(mutex_);
  // FAILED_PRECONDITION to a job of this pool, and to whatever runs below one.
  absl::Status RefuseOwnJobs(const Context& context) const;
  void CloseIntake() NURSERY_EXCLUDES(mutex_);
  Async<absl::Status> UntilWorkersHaveEnded(Context context);
  void OnJobStarted() NURSERY_EXCLUDES(mutex_);
  void OnJobEnded(const std::string& name, const absl::Status& status) NURSERY_EXCLUDES(mutex_);
  void OnBodyEnded(const absl::Status& status) NURSERY_EXCLUDES(mutex_);
  void Apply(std::optional<Cause> decision);
  GroupResult TakeResult() NURSERY_EXCLUDES(mutex_);

  // Constant once the workers are started.
  const ContextKey<std::monostate> key_;  // in the context of its jobs
  const CancelScope scope_;
  const WorkerPoolOptions options_;
  std::optional<Receiver<std::monostate>> gone_;  // closed when the last worker has ended

  mutable Mutex mutex_;
  std::optional<Sender<Job>> intake_ NURSERY_GUARDED_BY(mutex_);
  internal::JoinState join_ NURSERY_GUARDED_BY(mutex_);
  int64_t accepted_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t started_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t ended_ NURSERY_GUARDED_BY(mutex_) = 0;
};

// `body(pool, args...)` gives an Async<absl::Status>. In the result a job that was in the queue of
// a pool that stopped counts as cancelled. `name` is that of the workers' tasks.
template <class Body, class... Args>
Async<GroupResult> WithWorkerPool(Context context, TaskName name, WorkerPoolOptions options,
                                  Body body, Args... args);

}  // namespace nursery

#include "nursery/core/internal/worker_pool_inl.h"

#endif  // NURSERY_CORE_WORKER_POOL_H_
