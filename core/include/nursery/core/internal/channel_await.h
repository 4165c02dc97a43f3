// The awaitables of channel.h: all of them are a Select over one or more cases.
#ifndef NURSERY_CORE_INTERNAL_CHANNEL_AWAIT_H_
#define NURSERY_CORE_INTERNAL_CHANNEL_AWAIT_H_

#include <tuple>
#include <utility>

#include "nursery/core/channel.h"

namespace nursery::internal {

// One wait entered in several channels; the first that fires it decides.
template <class... Cases>
class [[nodiscard]] SelectAwaiter {
 public:
  SelectAwaiter(AwaitedContext context, WaitReason reason, Cases&... cases)
      : context_(std::move(context)), reason_(reason), cases_(cases...) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    for (;;) {
      bool again = false;
      const bool suspended = wait_.Suspend(handle, &context_.node(), reason_, this, [&] {
        uint32_t index = 0;
        std::apply([&](Cases&... each) { ((again |= each.Enter(wait_, index++)), ...); }, cases_);
      });
      if (suspended) return true;  // from here on this object may be gone
      if (!again) return false;
      LeaveAll();
      wait_.Reset();
    }
  }
  absl::StatusOr<size_t> await_resume() {
    absl::Status waited = EndWait();
    if (!waited.ok()) return waited;
    return static_cast<size_t>(wait_.index());
  }

  // For what has one case only. TryNow is true when no wait is needed.
  template <class Case>
  bool TryNow(Case& only) {
    waits_ = context_.node().cancelled() || !only.TryNow();
    return !waits_;
  }
  // Unless TryNow was enough.
  bool waits() const { return waits_; }
  // OK, or why the context ended the wait.
  absl::Status EndWait() { return LeaveAll() ? context_.status() : absl::OkStatus(); }
  const AwaitedContext& context() const { return context_; }

 private:
  // Whether the context ended the wait.
  bool LeaveAll() {
    const bool cancelled = wait_.Finish();
    // What it was in has let go of it.
    if (sizeof...(Cases) == 1 && wait_.resumed_by_fire()) return false;
    std::apply([](Cases&... each) { (each.Leave(), ...); }, cases_);
    return cancelled;
  }

  AwaitedContext context_;
  const WaitReason reason_;
  std::tuple<Cases&...> cases_;
  bool waits_ = true;
  PlainWait wait_;
};

template <class T>
class [[nodiscard]] SendAwaiter {
 public:
  SendAwaiter(AwaitedContext context, const Sender<T>& sender, T value)
      : case_(sender.state_.get(), std::move(value)),
        select_(std::move(context), WaitReason::kChannelSend, case_) {}
  bool await_ready() { return select_.TryNow(case_); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return select_.await_suspend(handle);
  }
  absl::Status await_resume() {
    if (select_.waits()) {
      absl::Status waited = select_.EndWait();
      if (!waited.ok()) return waited;
    }
    absl::Status sent = case_.status();
    // A cancellation may have ended the receivers before this wait could see it, and is then why.
    if (!sent.ok() && select_.context().node().cancelled()) return select_.context().status();
    return sent;
  }

 private:
  SendCase<T> case_;
  SelectAwaiter<SendCase<T>> select_;
};

template <class T>
class [[nodiscard]] ReceiveAwaiter {
 public:
  ReceiveAwaiter(AwaitedContext context, const Receiver<T>& receiver)
      : case_(receiver.state_.get()),
        select_(std::move(context), WaitReason::kChannelReceive, case_) {}
  bool await_ready() { return select_.TryNow(case_); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return select_.await_suspend(handle);
  }
  absl::StatusOr<T> await_resume() {
    if (select_.waits()) {
      absl::Status waited = select_.EndWait();
      if (!waited.ok()) return waited;
    }
    return case_.Take();
  }

 private:
  ReceiveCase<T> case_;
  SelectAwaiter<ReceiveCase<T>> select_;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_CHANNEL_AWAIT_H_
