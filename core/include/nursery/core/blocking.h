// RunBlocking: calls a function that blocks on a thread where that is allowed, so that it does not
// hold up the scheduler. Meanwhile the task's state is `blocking`.
//
// Thread safety: called by tasks.
// Suspends: until the executor has a thread for it (ThreadExecutorOptions::blocking_threads), first
// come, first served, as for a semaphore, and until the function has returned. Where the system has
// no thread left it runs on one of those that are there, later. Resumes on: the executor.
// Cancellation: ends the wait for a thread with the cause's status, and the function is not called.
// What has been started is waited for, since it may refer to the caller's frame.
//
//   auto read = [path] { return ReadWholeFile(path); };             // absl::StatusOr<std::string>
//   absl::StatusOr<std::string> text = co_await RunBlocking(ctx, std::move(read));
#ifndef NURSERY_CORE_BLOCKING_H_
#define NURSERY_CORE_BLOCKING_H_

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/executor.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/task_frame.h"
#include "nursery/core/semaphore.h"

namespace nursery {

namespace internal {

template <class Function>
class [[nodiscard]] BlockingAwaiter {
 public:
  using Result = std::invoke_result_t<Function>;

  explicit BlockingAwaiter(Function& function) : function_(function) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    TaskRecord* const task = handle.promise().task;
    task->resume_point = handle;
    task->Enter(TaskState::kBlocking, WaitReason::kBlocking, nullptr);
    task->executor->RunOnBlockingThread([this, task] {
      try {
        result_.emplace(function_());
      } catch (...) {
        result_.emplace(StatusOfException(std::current_exception()));
      }
      task->executor->Schedule(task);
    });
  }
  Result await_resume() { return std::move(*result_); }

 private:
  Function& function_;
  std::optional<Result> result_;
};

}  // namespace internal

// `Function` takes nothing and gives an absl::Status or an absl::StatusOr; an exception becomes
// INTERNAL.
template <class Function>
Async<std::invoke_result_t<Function>> RunBlocking(Context context, Function function) {
  Semaphore& threads = internal::CurrentTask()->executor->blocking_threads();
  absl::StatusOr<Permit> thread = co_await threads.Acquire(context);
  if (!thread.ok() && !PLANTED(blocking_despite_cancel)) co_return thread.status();
  co_return co_await internal::BlockingAwaiter<Function>(function);
}

}  // namespace nursery

#endif  // NURSERY_CORE_BLOCKING_H_
