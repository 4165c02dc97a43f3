#include "nursery/core/executor.h"

#include <sched.h>

#include <algorithm>
#include <system_error>

#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/task_frame.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::TaskRecord;
using internal::WakeList;

Executor::~Executor() = default;

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

// Blocks a thread that is no worker until the root task has ended.
class RootOwner final : public internal::TaskOwner {
 public:
  void OnTaskDone(TaskRecord* task) override {
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

ThreadExecutor::ThreadExecutor(int workers, int blocking_threads)
    : Executor(Clock::Steady()), blocking_(blocking_threads) {
  const int count = workers > 0 ? workers : AvailableCores();
  try {
    threads_.emplace_back([this] { React(); });
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    // Fewer workers do, but none does not.
    if (threads_.size() > 1) return;
    Stop();
    throw;
  }
}

ThreadExecutor::~ThreadExecutor() { Stop(); }

void ThreadExecutor::Stop() {
  internal::IdleThreads::Thread* wake;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake = idle_.Take(static_cast<int>(threads_.size()));
  }
  internal::IdleThreads::Wake(wake);
  Kick();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status ThreadExecutor::Run(std::string name, Root root, std::source_location site) {
  RootOwner owner;
  Context context = Context::Background(*this);
  TaskRecord task;
  task.name = std::move(name);
  task.spawn_site = site;
  task.executor = this;
  task.context = &context.node();
  task.owner = &owner;
  internal::RunInTask(context, std::move(root)).BindTo(task);
  registry().Add(&task);
  Schedule(&task);
  absl::Status result = owner.Wait();
  registry().Remove(&task);
  return result;
}

void ThreadExecutor::Schedule(WakeList& tasks) {
  int count = 0;
  internal::IdleThreads::Thread* wake;
  {
    MutexLock lock(mutex_);
    while (TaskRecord* task = tasks.Pop()) {
      task->Enter(TaskState::kRunnable, WaitReason::kNone, nullptr);
      queue_.Push(task);
      ++count;
    }
    wake = idle_.Take(count);
  }
  internal::IdleThreads::Wake(wake);
}

void ThreadExecutor::Schedule(TaskRecord* task) {
  WakeList one;
  one.Push(task);
  Schedule(one);
}

void ThreadExecutor::RunOnBlockingThread(absl::AnyInvocable<void() &&> work) {
  blocking_.Run(std::move(work));
}

TaskRecord* ThreadExecutor::Next() {
  MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_) idle_.Wait(mutex_);
  return queue_.Pop();
}

void ThreadExecutor::Work() {
  while (TaskRecord* task = Next()) TaskRecord::RunSlice(task);
}

void ThreadExecutor::React() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
    }
    const Time next = timers().Next();
    const Duration timeout =
        next == kNever ? Duration(-1) : std::max(next - clock().Now(), Duration::zero());
    WakeList wake;
    poller().Poll(timeout, wake);
    internal::Schedule(wake);
    ExpireTimers(clock().Now());
  }
}

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
