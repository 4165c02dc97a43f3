#include "nursery/core/executor.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/frame_pool.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/scheduler.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/internal/task_frame.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::TaskRecord;
using internal::WakeList;

Executor::Executor(const Clock& clock, int64_t max_tasks, int64_t blocking_threads)
    : clock_(clock),
      registry_(clock, max_tasks),
      blocking_threads_(std::max<int64_t>(1, blocking_threads)) {
  NURSERY_CHECK(max_tasks >= 1) << "an executor runs at least one task";
}

Executor::~Executor() = default;

TaskStats Executor::Stats() const {
  TaskStats stats = registry_.Stats();
  stats.scheduler = ReadSchedulerStats();
  return stats;
}

void Executor::ExpireTimers(Time now) {
  internal::Expired expired;
  timers_.Expire(now, expired);
  internal::Schedule(expired.wake);
  for (internal::ContextNode* node : expired.contexts) {
    node->DeadlineExpired();
    node->Unref();
  }
}

namespace {

// So many calls of FreeSpareFrames give 64 MiB back, also of the smallest blocks.
constexpr int kMostFrees = 1000;

// Blocks a thread that is no worker until the root task has ended.
class RootOwner final : public internal::TaskOwner {
 public:
  void OnTaskDone(TaskRecord* task) override {
    internal::Awake::Enter();  // the thread that waits
    MutexLock lock(mutex_);
    done_ = true;
    result_ = std::move(task->result);
    condition_.NotifyAll();
  }
  absl::Status Wait() {
    MutexLock lock(mutex_);
    while (!done_) condition_.Wait(mutex_);
    return result_;
  }

 private:
  Mutex mutex_;
  CondVar condition_;
  bool done_ NURSERY_GUARDED_BY(mutex_) = false;
  absl::Status result_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace

int ThreadExecutor::AvailableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadExecutor::ThreadExecutor(ThreadExecutorOptions options)
    : Executor(Clock::Steady(), options.max_tasks, options.blocking_threads),
      options_(std::move(options)),
      scheduler_(std::make_unique<internal::Scheduler>(
          options_.workers > 0 ? options_.workers : AvailableCores(), [this] { Kick(); })),
      blocking_(options_.blocking_threads),
      reactor_([this] { React(); }) {
  Enlist();
}

namespace {

ThreadExecutorOptions WithThreads(int workers, int blocking_threads) {
  ThreadExecutorOptions options;
  options.workers = workers;
  options.blocking_threads = blocking_threads;
  return options;
}

}  // namespace

ThreadExecutor::ThreadExecutor(int workers, int blocking_threads)
    : ThreadExecutor(WithThreads(workers, blocking_threads)) {}

ThreadExecutor::~ThreadExecutor() {
  const internal::StayAwake until_the_threads_have_gone;
  Delist();
  stopping_.store(true);
  Kick();
  reactor_.join();
  scheduler_->Stop();
  // There may be no other one that does. If there is, it may leave more meanwhile.
  for (int i = 0; i < kMostFrees && internal::HasSpareFrames(); ++i) internal::FreeSpareFrames();
}

absl::Status ThreadExecutor::Run(std::string name, Root root, std::source_location site) {
  if (internal::Scheduler::RunsTasksHere()) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "Run waits for its root, and this thread runs tasks: call it in RunBlocking");
  }
  const internal::StayAwake awake;
  const internal::KnownThread known;
  RootOwner owner;
  Context context = Context::Background(*this);
  internal::TaskFrame<Root> task(std::move(root));
  task.name = name;
  task.spawn_site = site;
  task.executor = this;
  task.context = &context.node();
  task.owner = &owner;
  task.context->HoldUp();
  registry().AddBeyondLimit(&task);
  Schedule(&task);
  internal::Awake::Leave();
  absl::Status result = owner.Wait();
  registry().Remove(&task);
  task.context->LetDown();
  return result;
}

void ThreadExecutor::Schedule(WakeList& tasks) { scheduler_->PushWoken(tasks); }

bool ThreadExecutor::Schedule(TaskRecord* task) { return scheduler_->PushBack(task); }

bool ThreadExecutor::LeaveGuest(TaskRecord* task) { return scheduler_->LeaveGuest(task); }

void ThreadExecutor::RunOnBlockingThread(absl::AnyInvocable<void() &&> work) {
  blocking_.Run(std::move(work));
}

SchedulerStats ThreadExecutor::ReadSchedulerStats() const { return scheduler_->Stats(); }

bool ThreadExecutor::CanWake() {
  return timers().Next() != kNever || poller().waiters() > 0 || scheduler_->has_tasks();
}

void ThreadExecutor::React() {
  internal::Awake::Enter();
  const internal::KnownThread known;
  while (!stopping_.load()) {
    Time next = timers().PlanSleep();
    if (!scheduler_->look_wanted()) internal::DropRecordTime();
    if (LookWanted()) next = std::min(next, next_look_);
    const Duration timeout =
        next == kNever ? Duration(-1) : std::max(next - clock().Now(), Duration::zero());
    if (internal::Awake::LeaveAndLook(*this)) TellAsleep();
    WakeList wake;
    poller().Poll(timeout, wake, &internal::Awake::Enter);
    internal::Schedule(wake);
    const Time now = clock().Now();
    internal::DropRecordTime();  // what is called at a deadline may take long
    ExpireTimers(now);
    LookAfterWorkers(now);
    if (scheduler_->look_wanted()) internal::KeepRecordTime();  // comes back for the next look
  }
  internal::DropRecordTime();
  internal::Awake::Leave();
}

bool ThreadExecutor::LookWanted() const {
  return scheduler_->look_wanted() || internal::HasSpareFrames();
}

void ThreadExecutor::LookAfterWorkers(Time now) {
  if (!LookWanted() || now < next_look_) return;
  next_look_ = now + internal::Scheduler::kLookInterval;
  internal::FreeSpareFrames();
  if (!scheduler_->look_wanted()) return;
  if (options_.on_stall) internal::DropRecordTime();  // it may take long
  scheduler_->Look(now, registry(), options_.on_stall);
}

void ThreadExecutor::TellAsleep() {
  const uint64_t slices = scheduler_->slices_started();
  if (std::exchange(slices_when_asleep_, slices) == slices) return;
  internal::DropRecordTime();  // what is told may take long
  const std::string report = internal::DescribeSleepers(internal::SnapshotAll());
  if (options_.on_asleep) {
    options_.on_asleep(report);
  } else {
    std::fwrite(report.data(), 1, report.size(), stderr);
  }
}

GuestWorker::GuestWorker(ThreadExecutor& executor)
    : scheduler_(*executor.scheduler_), worker_(*scheduler_.AddGuest()) {}

GuestWorker::~GuestWorker() { scheduler_.RemoveGuest(worker_); }

void GuestWorker::RunReady() { scheduler_.RunGuest(worker_); }

namespace internal {

absl::Status StatusOfException(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return Error(absl::StatusCode::kInternal, std::string("exception: ") + error.what());
  } catch (...) {
    return Error(absl::StatusCode::kInternal, "exception of a type that is no std::exception");
  }
}

}  // namespace internal
}  // namespace nursery
