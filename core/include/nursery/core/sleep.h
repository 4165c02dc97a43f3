// Sleep and Yield.
//
// Thread safety: called by tasks.
// Suspends: always, but for a context that is cancelled or an instant that has passed. Resumes on:
// the executor. Cancellation: returns the cause's status at once. Order: earlier instants first,
// then who slept first.
//
//   absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(250));
#ifndef NURSERY_CORE_SLEEP_H_
#define NURSERY_CORE_SLEEP_H_

#include "nursery/core/context.h"
#include "nursery/core/executor.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/wait.h"

namespace nursery {

class [[nodiscard]] SleepAwaiter {
 public:
  SleepAwaiter(internal::AwaitedContext context, Time until)
      : context_(std::move(context)), until_(until) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return wait_.Suspend(handle, &context_.node(), WaitReason::kTimer, nullptr, [this] {
      Executor& executor = context_.executor();
      internal::WakeList none;  // a wait that is still arming is never scheduled
      if (until_ <= executor.clock().Now() || PLANTED(sleeps_not_at_all)) {
        wait_.Fire(0, none);
      } else if (executor.timers().Add(wait_, until_)) {
        executor.Kick();
      }
    });
  }
  absl::Status await_resume() {
    const bool cancelled = wait_.Finish();
    context_.executor().timers().Cancel(wait_);
    return cancelled ? context_.status() : absl::OkStatus();
  }

 private:
  internal::AwaitedContext context_;
  const Time until_;
  internal::TimedWait wait_;
};

inline SleepAwaiter SleepUntil(internal::AwaitedContext context, Time until) {
  return SleepAwaiter(std::move(context), until);
}

inline SleepAwaiter Sleep(internal::AwaitedContext context, Duration duration) {
  const Time until = Later(context.executor().clock().Now(), duration);
  return SleepAwaiter(std::move(context), until);
}

class [[nodiscard]] UntilCancelledAwaiter {
 public:
  explicit UntilCancelledAwaiter(internal::AwaitedContext context) : context_(std::move(context)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return wait_.Suspend(handle, &context_.node(), WaitReason::kContextDone, nullptr, [] {});
  }
  absl::Status await_resume() {
    wait_.Finish();
    return context_.status();
  }

 private:
  internal::AwaitedContext context_;
  internal::PlainWait wait_;
};

// Waits until `context` is cancelled and returns its cause's status.
inline UntilCancelledAwaiter UntilCancelled(internal::AwaitedContext context) {
  return UntilCancelledAwaiter(std::move(context));
}

// Lets the other runnable tasks of this thread run first. Never fails.
class [[nodiscard]] YieldAwaiter {
 public:
  YieldAwaiter() = default;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    internal::TaskRecord* task = handle.promise().task;
    task->resume_point = handle;
    task->executor->Schedule(task);
  }
  void await_resume() const noexcept {}
};

inline YieldAwaiter Yield() { return YieldAwaiter(); }

// Goes on on a worker thread: before long work in a task that may run on a GuestWorker. Does
// nothing elsewhere. Holds until the next wait: whoever ends that decides where the task goes on.
class [[nodiscard]] OnWorkerAwaiter {
 public:
  OnWorkerAwaiter() = default;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    internal::TaskRecord* task = handle.promise().task;
    task->resume_point = handle;
    return task->executor->LeaveGuest(task);
  }
  void await_resume() const noexcept {}
};

inline OnWorkerAwaiter OnWorker() { return OnWorkerAwaiter(); }

}  // namespace nursery

#endif  // NURSERY_CORE_SLEEP_H_
