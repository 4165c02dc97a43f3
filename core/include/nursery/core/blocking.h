// RunBlocking: calls a function that blocks on a thread where that is allowed, so that it does not
// hold up the scheduler. Meanwhile the task's state is `blocking`.
//
// Suspends: until the function has returned. Resumes on: the executor.
// Cancellation: none; what has been started is waited for, since it may refer to the caller's
// frame. A context that is cancelled before the start gives its cause's status and the function is
// not called.
//
//   auto read = [path] { return ReadWholeFile(path); };             // absl::StatusOr<std::string>
//   absl::StatusOr<std::string> text = co_await RunBlocking(ctx, std::move(read));
#ifndef NURSERY_CORE_BLOCKING_H_
#define NURSERY_CORE_BLOCKING_H_

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "nursery/core/context.h"
#include "nursery/core/executor.h"
#include "nursery/core/internal/task_frame.h"

namespace nursery {

// `Function` takes nothing and gives an absl::Status or an absl::StatusOr; an exception becomes
// INTERNAL.
template <class Function>
class [[nodiscard]] BlockingAwaiter {
 public:
  using Result = std::invoke_result_t<Function>;

  BlockingAwaiter(Context context, Function function)
      : context_(std::move(context)), function_(std::move(function)) {}

  bool await_ready() {
    if (context_.cancelled()) result_.emplace(context_.status());
    return result_.has_value();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    internal::TaskRecord* task = handle.promise().task;
    task->resume_point = handle;
    task->Enter(TaskState::kBlocking, WaitReason::kBlocking, nullptr);
    task->executor->RunOnBlockingThread([this, task] {
      try {
        result_.emplace(function_());
      } catch (...) {
        result_.emplace(internal::StatusOfException(std::current_exception()));
      }
      task->executor->Schedule(task);
    });
  }
  Result await_resume() { return std::move(*result_); }

 private:
  Context context_;
  Function function_;
  std::optional<Result> result_;
};

template <class Function>
BlockingAwaiter<Function> RunBlocking(Context context, Function function) {
  return BlockingAwaiter<Function>(std::move(context), std::move(function));
}

}  // namespace nursery

#endif  // NURSERY_CORE_BLOCKING_H_
