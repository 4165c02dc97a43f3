// TaskFrame: the outermost coroutine of a task. It runs a user's coroutine function, turns what
// comes out of it into a Status, and reports its end through the task's record.
#ifndef NURSERY_CORE_INTERNAL_TASK_FRAME_H_
#define NURSERY_CORE_INTERNAL_TASK_FRAME_H_

#include <coroutine>
#include <exception>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/task.h"

namespace nursery::internal {

// INTERNAL with what the exception says.
absl::Status StatusOfException(std::exception_ptr exception);

class TaskFrame {
 public:
  struct promise_type : PromiseBase {
    struct ReportEnd {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> handle) const noexcept {
        TaskRecord* task = handle.promise().task;
        if (handle.promise().exception && !PLANTED(exception_lost))
          task->result = StatusOfException(handle.promise().exception);
        *task->finished_slot = task;
      }
      void await_resume() const noexcept {}
    };
    // The function has its arguments.
    template <class T>
    typename Async<T>::Awaiter await_transform(
        Async<T>&& async, std::source_location line = std::source_location::current()) noexcept {
      task->starting = false;
      return PromiseBase::await_transform(std::move(async), line);
    }
    TaskFrame get_return_object() noexcept {
      return TaskFrame(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    ReportEnd final_suspend() const noexcept { return {}; }
    void return_value(absl::Status status) { task->result = std::move(status); }
  };

  explicit TaskFrame(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

  // Ties the frame to its record. From then on the record owns it.
  void BindTo(TaskRecord& task) const {
    handle_.promise().task = &task;
    task.frame = handle_;
    task.resume_point = handle_;
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

// `function(context, args...)` gives an Async<absl::Status> or an Async<void>.
template <class Function, class... Args>
TaskFrame RunInTask(Context context, Function function, Args... args) {
  using Result = std::invoke_result_t<Function, Context, Args...>;
  if constexpr (std::is_void_v<typename Result::value_type>) {
    co_await std::invoke(std::move(function), std::move(context), std::move(args)...);
    co_return absl::OkStatus();
  } else {
    absl::Status status =
        co_await std::invoke(std::move(function), std::move(context), std::move(args)...);
    co_return status;
  }
}

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_TASK_FRAME_H_
