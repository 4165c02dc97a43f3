// ReadReady and WriteReady: wait until a non-blocking descriptor can be read or written.
//
// Readiness is a hint: the following read may still say EAGAIN. End of file and errors count as
// ready. A regular file is always ready.
//
// Thread safety: one task at a time waits for one descriptor and direction; a second gets
// FAILED_PRECONDITION. Lifetime: the descriptor stays open while somebody waits.
// Suspends: until ready. Resumes on: the executor. Cancellation: returns the cause's status.
//
//   absl::Status ready = co_await ReadReady(ctx, fd);
#ifndef NURSERY_CORE_IO_H_
#define NURSERY_CORE_IO_H_

#include "nursery/core/context.h"
#include "nursery/core/executor.h"
#include "nursery/core/internal/wait.h"

namespace nursery {

class [[nodiscard]] IoAwaiter {
 public:
  IoAwaiter(internal::AwaitedContext context, int fd, internal::IoDirection direction)
      : context_(std::move(context)), fd_(fd), direction_(direction) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    const void* const object = internal::DescriptorAsObject(fd_);
    return wait_.Suspend(handle, &context_.node(), WaitReason::kIo, object, [this] {
      status_ = context_.executor().poller().Add(fd_, direction_, wait_);
      internal::WakeList none;  // a wait that is still arming is never scheduled
      if (!status_.ok()) wait_.Fire(0, none);
    });
  }
  absl::Status await_resume() {
    if (wait_.Finish()) {
      context_.executor().poller().Remove(fd_, direction_, wait_);
      return context_.status();
    }
    return absl::IsAlreadyExists(status_) ? absl::OkStatus() : status_;
  }

 private:
  internal::AwaitedContext context_;
  const int fd_;
  const internal::IoDirection direction_;
  absl::Status status_;
  internal::PlainWait wait_;
};

inline IoAwaiter ReadReady(internal::AwaitedContext context, int fd) {
  return IoAwaiter(std::move(context), fd, internal::IoDirection::kRead);
}

inline IoAwaiter WriteReady(internal::AwaitedContext context, int fd) {
  return IoAwaiter(std::move(context), fd, internal::IoDirection::kWrite);
}

}  // namespace nursery

#endif  // NURSERY_CORE_IO_H_
