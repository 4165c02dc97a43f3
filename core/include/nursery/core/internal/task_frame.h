// TaskFrame: a task in one block: its record, the user's coroutine function and the arguments. In
// its first slice the function is called; what comes out of the coroutine becomes a Status.
#ifndef NURSERY_CORE_INTERNAL_TASK_FRAME_H_
#define NURSERY_CORE_INTERNAL_TASK_FRAME_H_

#include <coroutine>
#include <exception>
#include <memory>
#include <tuple>
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

// `function(context, args...)` gives an Async<absl::Status> or an Async<void>. Function, context
// and arguments stay until the end, also of a function that takes them by reference.
template <class Function, class... Args>
class TaskFrame final : public TaskRecord {
 public:
  explicit TaskFrame(Function&& function, Args&&... args)
      : call_(std::move(function), std::move(args)...) {}
  TaskFrame(const TaskFrame&) = delete;
  TaskFrame& operator=(const TaskFrame&) = delete;
  ~TaskFrame() override {
    const bool ended = frame == nullptr && !starting;
    if (!ended) std::destroy_at(&call_);  // it was never started
  }

 private:
  using Result = std::invoke_result_t<Function, Context, Args...>;

  void Begin() override {
    try {
      // As Context::Of counts it, of the task that runs.
      ++context_refs;
      context_ = Context(context);
      Result async = Call(std::index_sequence_for<Args...>());
      starting = false;
      frame = resume_point = std::exchange(async.handle_, nullptr);
      Coroutine().promise().task = this;
    } catch (...) {
      TakeException(std::current_exception());
      EndsNow(this);
    }
  }

  // Without std::apply and std::invoke, which are not inlined.
  template <size_t... kIndex>
  Result Call(std::index_sequence<kIndex...>) {
    return std::get<0>(std::move(call_))(std::move(context_),
                                         std::get<kIndex + 1>(std::move(call_))...);
  }

  void End() override {
    if (frame != nullptr) {
      auto& promise = Coroutine().promise();
      if (promise.exception() != nullptr) {
        TakeException(*promise.exception());
      } else if constexpr (!std::is_void_v<typename Result::value_type>) {
        result = promise.Take();
      }
      std::exchange(frame, nullptr).destroy();
    }
    starting = false;
    std::destroy_at(&call_);
    context_ = Context::Of(nullptr);
  }

  typename Result::Handle Coroutine() const {
    return Result::Handle::from_address(frame.address());
  }
  void TakeException(std::exception_ptr exception) {
    if (!PLANTED(exception_lost)) result = StatusOfException(std::move(exception));
  }

  Context context_ = Context::Of(nullptr);  // the task's, from its beginning
  union {                                   // until End
    std::tuple<Function, Args...> call_;
  };
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_TASK_FRAME_H_
