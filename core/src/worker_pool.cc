#include "nursery/core/worker_pool.h"

#include <algorithm>

#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery {
namespace {

absl::Status ClosedPoolStatus() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "the pool takes no more jobs: it is being drained, or has stopped");
}

}  // namespace

WorkerPool::WorkerPool(const Context& context, WorkerPoolOptions options)
    : scope_(context.With(key_, std::monostate())), options_(options), join_(options.join) {}

absl::Status WorkerPool::Validate(const WorkerPoolOptions& options) {
  NURSERY_RETURN_IF_ERROR(internal::Validate(options.join));
  if (options.workers < 1 || options.queue < 0) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "a pool has at least 1 worker and a queue of at least 0; these are " +
                     std::to_string(options.workers) + " and " + std::to_string(options.queue));
  }
  if (options.join.kind == Join::Kind::kAny || options.join.kind == Join::Kind::kQuorum) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "a pool joins by all, collect or max_failures: nobody knows how many jobs come");
  }
  return absl::OkStatus();
}

absl::Status WorkerPool::StartWorkers(Group& group, const TaskName& name) {
  auto [intake, jobs] = MakeChannel<Job>(static_cast<size_t>(options_.queue));
  auto [alive, gone] = MakeChannel<std::monostate>(0);
  gone_.emplace(std::move(gone));
  for (int64_t i = 0; i < options_.workers; ++i) {
    NURSERY_RETURN_IF_ERROR(
        group.TrySpawn(internal::Extended(name, std::to_string(i)), Work, this, jobs, alive));
  }
  MutexLock lock(mutex_);
  intake_.emplace(std::move(intake));
  return absl::OkStatus();
}

Async<absl::Status> WorkerPool::Work(Context context, WorkerPool* pool, Receiver<Job> jobs,
                                     Sender<std::monostate> alive) {
  for (;;) {
    absl::StatusOr<Job> job = co_await jobs.Receive(context);
    // Closed and drained, or cancelled: then the jobs in the queue go with it.
    if (!job.ok()) break;
    pool->OnJobStarted();
    absl::Status status;
    try {
      status = co_await std::move(job->run)(context);
    } catch (...) {
      status = internal::StatusOfException(std::current_exception());
    }
    job->run = nullptr;  // what it holds goes before anybody hears of its end
    pool->OnJobEnded(job->name, status);
  }
  const absl::Status closed = alive.Close();
  NURSERY_CHECK(closed.ok());
  co_return absl::OkStatus();
}

std::optional<Sender<WorkerPool::Job>> WorkerPool::Intake() const {
  MutexLock lock(mutex_);
  return intake_;
}

absl::Status WorkerPool::Accepted(const absl::Status& sent) {
  if (absl::IsResourceExhausted(sent)) {
    return Error(absl::StatusCode::kResourceExhausted,
                 "the pool's queue is full: " + std::to_string(options_.queue) + " jobs wait for " +
                     std::to_string(options_.workers) + " workers");
  }
  if (absl::IsFailedPrecondition(sent)) return ClosedPoolStatus();
  if (sent.ok()) {
    MutexLock lock(mutex_);
    ++accepted_;
  }
  return sent;
}

absl::Status WorkerPool::RefuseOwnJobs(const Context& context) const {
  // A job may have come by the context of somebody else.
  const internal::TaskRecord* const task = internal::CurrentTask();
  const bool runs_in_it = task != nullptr && task->context->FindValue(&key_) != nullptr;
  if (!runs_in_it && context.Value(key_) == nullptr) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition,
               "a job may not wait for its own pool; it uses TrySubmit");
}

void WorkerPool::CloseIntake() {
  std::optional<Sender<Job>> closed;  // wakes workers when it goes, outside of the lock
  MutexLock lock(mutex_);
  closed.swap(intake_);
}

Async<absl::Status> WorkerPool::UntilWorkersHaveEnded(Context context) {
  if (PLANTED(drain_does_not_wait)) co_return absl::OkStatus();
  const Receiver<std::monostate> gone = *gone_;
  absl::StatusOr<std::monostate> ended = co_await gone.Receive(context);
  if (internal::IsEnd(ended.status(), context)) co_return absl::OkStatus();
  co_return ended.status();
}

Async<absl::Status> WorkerPool::Drain(Context context) {
  absl::Status status = RefuseOwnJobs(context);
  if (!status.ok()) co_return status;
  CloseIntake();
  status = co_await UntilWorkersHaveEnded(context);
  if (!status.ok()) co_return status;
  MutexLock lock(mutex_);
  co_return join_.result().status;
}

Async<absl::Status> WorkerPool::Stop(Context context, std::string reason) {
  absl::Status status = RefuseOwnJobs(context);
  if (!status.ok()) co_return status;
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    decision = join_.OnStopped(Error(absl::StatusCode::kCancelled, reason));
  }
  CloseIntake();
  Apply(std::move(decision));
  co_return co_await UntilWorkersHaveEnded(context);
}

void WorkerPool::OnJobStarted() {
  MutexLock lock(mutex_);
  ++started_;
}

void WorkerPool::OnJobEnded(const std::string& name, const absl::Status& status) {
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    ++ended_;
    decision = join_.OnTaskEnded(name, status, [this] { return scope_.context().status(); });
  }
  if (!PLANTED(pool_goes_on_after_error)) Apply(std::move(decision));
}

void WorkerPool::OnBodyEnded(const absl::Status& status) {
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    decision = join_.OnBodyEnded(status);
  }
  CloseIntake();
  Apply(std::move(decision));
}

void WorkerPool::Apply(std::optional<Cause> decision) {
  if (!decision) return;
  CloseIntake();
  scope_.Cancel(std::move(*decision));
}

WorkerPoolStats WorkerPool::Stats() const {
  MutexLock lock(mutex_);
  WorkerPoolStats stats;
  stats.workers = options_.workers;
  stats.busy = started_ - ended_;
  // A worker may have a job before its submitter knows that it was accepted.
  stats.queued = std::max<int64_t>(0, accepted_ - started_);
  stats.succeeded = join_.result().succeeded;
  stats.failed = join_.result().error_count;
  return stats;
}

GroupResult WorkerPool::TakeResult() {
  MutexLock lock(mutex_);
  GroupResult result = join_.TakeResult();
  const int64_t dropped = accepted_ - started_;
  result.cancelled += dropped;
  if (dropped > 0 && result.status.ok()) result.status = scope_.context().status();
  return result;
}

}  // namespace nursery
