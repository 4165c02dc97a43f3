// What a completion queue says of gRPC's operations, and how a task waits for one.
//
// Thread safety: OnDone is called once per started operation, from a thread of the queue.
// Suspends: OperationAwaiter until gRPC is done with the operation, which always comes: when a call
// is lost, its operations end as failed. So no context cuts the wait short.
// Resumes on: the executor.
#ifndef NURSERY_SERVER_RPC_OPERATION_H_
#define NURSERY_SERVER_RPC_OPERATION_H_

#include <coroutine>

#include "nursery/core/internal/wait.h"

namespace nursery::rpc {

// Its address is what gRPC calls the tag.
class Tag {
 public:
  // `ok`: the operation took place.
  virtual void OnDone(bool ok) = 0;

 protected:
  ~Tag() = default;
};

// One operation of an Object: `start` hands the tag to gRPC. Gives whether it took place.
template <class Object>
class [[nodiscard]] OperationAwaiter final : private Tag {
 public:
  OperationAwaiter(Object& object, void (Object::*start)(Tag* tag))
      : object_(object), start_(start) {}
  OperationAwaiter(const OperationAwaiter&) = delete;
  OperationAwaiter& operator=(const OperationAwaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return wait_.Suspend(handle, nullptr, WaitReason::kIo, &object_,
                         [this] { (object_.*start_)(this); });
  }
  bool await_resume() {
    wait_.Finish();
    return ok_;
  }

 private:
  struct Waiter final : internal::Wait {};

  void OnDone(bool ok) override {
    ok_ = ok;
    internal::WakeList wake;
    // From here on the awaiter may be gone.
    wait_.Fire(0, wake);
    internal::Schedule(wake);
  }

  Object& object_;
  void (Object::* const start_)(Tag* tag);
  Waiter wait_;
  bool ok_ = false;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_OPERATION_H_
