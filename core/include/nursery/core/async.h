// Async<T>: a coroutine that gives a T. It starts when it is awaited and runs as part of the
// awaiting task; there is no other way to start it, so it cannot be detached.
//
// A function that may suspend returns an Async (or another awaitable) and takes a Context first.
//
// Thread safety: of one task.
// Suspends: as its body does. Resumes on: the executor of the task. Cancellation: through the
// Context that the body waits with. Order: it runs at once, in the awaiting task. Lifetime:
// parameters live in the coroutine's frame; pass values.
//
//   Async<int> Twice(int n) { co_return 2 * n; }
//   Async<absl::Status> Caller(Context ctx) {
//     int four = co_await Twice(2);
//     ...
#ifndef NURSERY_CORE_ASYNC_H_
#define NURSERY_CORE_ASYNC_H_

#include <coroutine>
#include <exception>
#include <source_location>
#include <type_traits>
#include <utility>
#include <variant>

#include "nursery/core/check.h"
#include "nursery/core/internal/frame_pool.h"
#include "nursery/core/task.h"

namespace nursery {

template <class T>
class Async;

namespace internal {

template <class Function, class... Args>
class TaskFrame;

// Awaits through an awaiter that stands in the awaiting frame. g++ 12 would copy what
// await_transform returns by reference, and awaiters can be neither copied nor moved.
template <class Awaiter>
class AwaiterHandle {
 public:
  explicit AwaiterHandle(Awaiter& awaiter) noexcept : awaiter_(&awaiter) {}
  bool await_ready() const { return awaiter_->await_ready(); }
  template <class Promise>
  decltype(auto) await_suspend(std::coroutine_handle<Promise> handle) const {
    return awaiter_->await_suspend(handle);
  }
  decltype(auto) await_resume() const { return awaiter_->await_resume(); }

 private:
  Awaiter* awaiter_;
};

// What every coroutine of a task shares: which task it belongs to.
struct PromiseBase : Pooled {
  TaskRecord* task = nullptr;
  std::coroutine_handle<> continuation;  // none: the outermost of its task

  std::suspend_always initial_suspend() const noexcept { return {}; }

  // Notes the line of every co_await in the task's record.
  template <class Awaiter>
  AwaiterHandle<std::remove_reference_t<Awaiter>> await_transform(
      Awaiter&& awaiter, std::source_location line = std::source_location::current()) noexcept {
    if (kKeepsRecords) task->line.store(line, std::memory_order_relaxed);
    return AwaiterHandle<std::remove_reference_t<Awaiter>>(awaiter);
  }
  template <class T>
  typename Async<T>::Awaiter await_transform(
      Async<T>&& async, std::source_location line = std::source_location::current()) noexcept {
    if (kKeepsRecords) task->line.store(line, std::memory_order_relaxed);
    return typename Async<T>::Awaiter(async.handle_);
  }
};

struct ResumeContinuation {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
    if (handle.promise().continuation) return handle.promise().continuation;
    EndsNow(handle.promise().task);
    return std::noop_coroutine();
  }
  void await_resume() const noexcept {}
};

template <class T>
struct AsyncPromise : PromiseBase {
  std::variant<std::monostate, T, std::exception_ptr> outcome;  // frames are many and small

  Async<T> get_return_object() noexcept;
  ResumeContinuation final_suspend() const noexcept { return {}; }
  template <class U>
  void return_value(U&& result) {
    outcome.template emplace<1>(std::forward<U>(result));
  }
  void unhandled_exception() noexcept { outcome.template emplace<2>(std::current_exception()); }
  const std::exception_ptr* exception() const { return std::get_if<2>(&outcome); }
  T Take() {
    if (exception() != nullptr) std::rethrow_exception(*exception());
    return std::move(*std::get_if<1>(&outcome));
  }
};

template <>
struct AsyncPromise<void> : PromiseBase {
  std::exception_ptr thrown;

  Async<void> get_return_object() noexcept;
  ResumeContinuation final_suspend() const noexcept { return {}; }
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { thrown = std::current_exception(); }
  const std::exception_ptr* exception() const { return thrown ? &thrown : nullptr; }
  void Take() const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

}  // namespace internal

template <class T>
class [[nodiscard]] Async {
 public:
  using value_type = T;
  using promise_type = internal::AsyncPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Async(Handle handle) noexcept : handle_(handle) {}
  Async(Async&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Async& operator=(Async&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Async() {
    if (handle_) handle_.destroy();
  }

  class Awaiter {
   public:
    explicit Awaiter(Handle handle) noexcept : handle_(handle) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    Handle await_suspend(std::coroutine_handle<Promise> parent) const noexcept {
      handle_.promise().task = parent.promise().task;
      handle_.promise().continuation = parent;
      return handle_;
    }
    T await_resume() const { return handle_.promise().Take(); }

   private:
    Handle handle_;
  };

 private:
  friend struct internal::PromiseBase;
  template <class Function, class... Args>
  friend class internal::TaskFrame;
  Handle handle_;
};

namespace internal {

template <class T>
Async<T> AsyncPromise<T>::get_return_object() noexcept {
  return Async<T>(Async<T>::Handle::from_promise(*this));
}

inline Async<void> AsyncPromise<void>::get_return_object() noexcept {
  return Async<void>(Async<void>::Handle::from_promise(*this));
}

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_ASYNC_H_
