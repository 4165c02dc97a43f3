// Channel<T>: a bounded queue between tasks, or a rendezvous at capacity 0, as Go's channels; and
// Select.
//
// Its two halves are counted handles. When the last Sender goes, receivers drain the buffer and
// then get OUT_OF_RANGE: nobody waits for a value that nobody can send. When the last Receiver
// goes, senders get FAILED_PRECONDITION instead of waiting for ever.
//
// Thread safety: any thread; one handle is used by one task at a time, copy it for more.
// Lifetime: a handle stays as long as a Send or Receive of it waits, or a case of Select made of it
// is used: the case does not count as one.
// Suspends: Send while full, Receive while empty, Select while no case is ready.
// Resumes on: the executor. Cancellation: returns the cause's status; the value was not sent, and a
// SendCase has it back. Order: values and waiters first in, first out. Select takes the first ready
// case in the order given.
//
//   auto [sender, receiver] = MakeChannel<int>(16);
//   absl::Status sent = co_await sender.Send(ctx, 7);
//   absl::StatusOr<int> got = co_await receiver.Receive(ctx);   // OUT_OF_RANGE: closed and drained
//
//   ReceiveCase<int> number(receiver);
//   SendCase<std::string> word(words, "hello");
//   absl::StatusOr<size_t> ready = co_await Select(ctx, number, word);
//   if (ready.ok() && *ready == 0) got = number.Take();   // 1: word.status()
#ifndef NURSERY_CORE_CHANNEL_H_
#define NURSERY_CORE_CHANNEL_H_

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/channel_half.h"
#include "nursery/core/internal/channel_state.h"
#include "nursery/core/internal/wait.h"

namespace nursery {

namespace internal {
// A receive that gave `status` has come to the end of a closed channel. A cancellation of `context`
// may have any status, that of the end included.
inline bool IsEnd(const absl::Status& status, const Context& context) {
  return absl::IsOutOfRange(status) && !absl::IsOutOfRange(context.status());
}
}  // namespace internal

using internal::ChannelStats;

template <class T>
class Sender;
template <class T>
class Receiver;

namespace internal {
template <class... Cases>
class SelectAwaiter;
template <class T>
class SendAwaiter;
template <class T>
class ReceiveAwaiter;
}  // namespace internal

// One value to send, as a case of Select.
template <class T>
class SendCase {
 public:
  SendCase(const Sender<T>& sender, T value)
      : kept_(sender.state_), state_(kept_.get()), node_(std::move(value)) {}
  SendCase(const SendCase&) = delete;
  SendCase& operator=(const SendCase&) = delete;

  // After this case was selected: OK, or FAILED_PRECONDITION: nobody can receive.
  absl::Status status() const { return internal::SendStatus(node_.passed); }
  // The value, when it was not sent.
  T Take() { return std::move(node_.value); }

  // Whether no wait is needed: it is as if this case was selected.
  bool TryNow() {
    if (state_ == nullptr) return true;
    const internal::Passed passed = state_->SendNow(node_.value);
    if (passed == internal::Passed::kRetry) return false;
    node_.passed = passed;
    return true;
  }
  // For Select. Enter is true when it is to be done again.
  bool Enter(internal::Wait& wait, uint32_t index) {
    if (state_ != nullptr) return state_->EnterSend(node_, wait, index);
    internal::FireNow(wait, index);
    return false;
  }
  void Leave() {
    if (state_ != nullptr) state_->Leave(node_);
  }

 private:
  friend class internal::SendAwaiter<T>;
  SendCase(internal::ChannelState<T>* state, T value) : state_(state), node_(std::move(value)) {}

  std::shared_ptr<internal::ChannelState<T>> kept_;
  internal::ChannelState<T>* const state_;
  internal::SendNode<T> node_;
};

// One value to receive, as a case of Select.
template <class T>
class ReceiveCase {
 public:
  explicit ReceiveCase(const Receiver<T>& receiver) : kept_(receiver.state_), state_(kept_.get()) {}
  ReceiveCase(const ReceiveCase&) = delete;
  ReceiveCase& operator=(const ReceiveCase&) = delete;

  // After this case was selected: the value, or OUT_OF_RANGE: closed and drained.
  absl::StatusOr<T> Take() {
    if (!node_.value) return internal::ClosedStatus();
    return std::move(*node_.value);
  }

  // Whether no wait is needed: it is as if this case was selected.
  bool TryNow() {
    return state_ == nullptr || state_->ReceiveNow(node_.value) != internal::Passed::kRetry;
  }
  // For Select. Enter is true when it is to be done again.
  bool Enter(internal::Wait& wait, uint32_t index) {
    if (state_ != nullptr) return state_->EnterReceive(node_, wait, index);
    internal::FireNow(wait, index);
    return false;
  }
  void Leave() {
    if (state_ != nullptr) state_->Leave(node_);
  }

 private:
  friend class internal::ReceiveAwaiter<T>;
  explicit ReceiveCase(internal::ChannelState<T>* state) : state_(state) {}

  std::shared_ptr<internal::ChannelState<T>> kept_;
  internal::ChannelState<T>* const state_;
  internal::ReceiveNode<T> node_;
};

// Waits until one case can go on, does it, and gives its position; the other cases stay untouched.
template <class... Cases>
internal::SelectAwaiter<Cases...> Select(internal::AwaitedContext context, Cases&... cases) {
  return internal::SelectAwaiter<Cases...>(std::move(context), WaitReason::kSelect, cases...);
}

template <class T>
class Sender : internal::SendHalf<T> {
 public:
  internal::SendAwaiter<T> Send(internal::AwaitedContext context, T value) const {
    return internal::SendAwaiter<T>(std::move(context), *this, std::move(value));
  }
  // RESOURCE_EXHAUSTED: full.
  absl::Status TrySend(T value) const {
    return state_ == nullptr ? internal::SendStatus(internal::Passed::kGone)
                             : state_->TrySend(std::move(value));
  }
  // Gives the handle up. FAILED_PRECONDITION when that was done before.
  absl::Status Close() {
    if (state_ == nullptr) return internal::ClosedTwiceStatus();
    this->Leave();
    return absl::OkStatus();
  }
  using internal::SendHalf<T>::Stats;

 private:
  template <class U>
  friend std::pair<Sender<U>, Receiver<U>> MakeChannel(size_t capacity);
  friend class SendCase<T>;
  friend class internal::SendAwaiter<T>;
  using internal::SendHalf<T>::SendHalf;
  using internal::SendHalf<T>::state_;
};

template <class T>
class Receiver : internal::ReceiveHalf<T> {
 public:
  internal::ReceiveAwaiter<T> Receive(internal::AwaitedContext context) const {
    return internal::ReceiveAwaiter<T>(std::move(context), *this);
  }
  // UNAVAILABLE: empty. OUT_OF_RANGE: closed and drained.
  absl::StatusOr<T> TryReceive() const {
    return state_ == nullptr ? absl::StatusOr<T>(internal::ClosedStatus()) : state_->TryReceive();
  }
  using internal::ReceiveHalf<T>::Stats;

 private:
  template <class U>
  friend std::pair<Sender<U>, Receiver<U>> MakeChannel(size_t capacity);
  friend class ReceiveCase<T>;
  friend class internal::ReceiveAwaiter<T>;
  using internal::ReceiveHalf<T>::ReceiveHalf;
  using internal::ReceiveHalf<T>::state_;
};

// A channel that buffers up to `capacity` values; 0: sender and receiver meet.
template <class T>
std::pair<Sender<T>, Receiver<T>> MakeChannel(size_t capacity) {
  static_assert(!std::is_same_v<T, absl::Status>,
                "an absl::Status received could not be told from an error of the channel");
  auto state = std::make_shared<internal::ChannelState<T>>(capacity);
  std::pair<Sender<T>, Receiver<T>> ends{Sender<T>(state), Receiver<T>(state)};
  if (const internal::TaskRecord* task = internal::CurrentTask()) {
    ends.first.HeldBy(internal::KeyOf(*task));
    ends.second.HeldBy(internal::KeyOf(*task));
  }
  return ends;  // in place: a move would forget who holds them
}

}  // namespace nursery

#include "nursery/core/internal/channel_await.h"

#endif  // NURSERY_CORE_CHANNEL_H_
