// What the halves of a channel share.
//
// Invariants, under mutex_:
//  1. Senders wait only while the buffer is full, receivers only while it is empty.
//  2. A value is in exactly one place: its sender, the buffer, or its receiver. It moves only after
//     the waiting side's Wait was fired.
//  3. Nobody waits on a side whose other side is gone.
#ifndef NURSERY_CORE_INTERNAL_CHANNEL_STATE_H_
#define NURSERY_CORE_INTERNAL_CHANNEL_STATE_H_

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/wait.h"
#include "nursery/core/internal/wait_site.h"
#include "nursery/core/mutex.h"

namespace nursery::internal {

// What became of an attempt to pass a value on.
enum class Passed : uint8_t {
  kGone,   // the other side is gone; also what remains when it goes while one waits
  kDone,   // the value has moved
  kRetry,  // the partner was cancelled at the same moment; nothing has moved
};

struct ChannelStats {
  int64_t capacity = 0;
  int64_t length = 0;
  int64_t senders = 0;
  int64_t receivers = 0;
};

absl::Status NotSentStatus(Passed passed);  // FAILED_PRECONDITION, RESOURCE_EXHAUSTED
inline absl::Status SendStatus(Passed passed) {
  return passed == Passed::kDone ? absl::OkStatus() : NotSentStatus(passed);
}
absl::Status ClosedStatus();       // OUT_OF_RANGE
absl::Status ClosedTwiceStatus();  // FAILED_PRECONDITION
absl::Status EmptyStatus();        // UNAVAILABLE
// Ends `wait`, which is still arming.
void FireNow(Wait& wait, uint32_t index);

template <class T>
struct SendNode : ListNode<> {
  explicit SendNode(T the_value) : value(std::move(the_value)) {}
  T value;
  Passed passed = Passed::kGone;
  Wait* wait = nullptr;
  uint32_t index = 0;
};

template <class T>
struct ReceiveNode : ListNode<> {
  ReceiveNode() = default;
  std::optional<T> value;
  Wait* wait = nullptr;
  uint32_t index = 0;
};

struct HandleTag {};

// Who holds a handle, where it is known.
struct HandleNode : ListNode<HandleTag> {
  HandleNode() = default;
  TaskKey holder;
};
// What waits on one side for the handles of the other.
template <class Node>
WaitQueue QueueOf(List<Node>& waits, List<HandleNode, HandleTag>& handles, int64_t count) {
  WaitQueue queue;
  for (Node* node = waits.front(); node != nullptr; node = waits.next(node)) {
    queue.waiters.push_back({KeyOf(*node->wait->task()), 1});
  }
  for (HandleNode* handle = handles.front(); handle != nullptr; handle = handles.next(handle)) {
    queue.holders.push_back({handle->holder, 1});
  }
  queue.total = count;
  return queue;
}

template <class T>
class ChannelState final : WaitSite {
 public:
  explicit ChannelState(size_t capacity) : capacity_(capacity) {}
  ~ChannelState() { Forget(); }

  // Each puts `node` into the queue, or does the work at once and fires `wait`, which is still
  // arming. True: nothing was done and the caller enters again, its partner being cancelled at this
  // moment.
  bool EnterSend(SendNode<T>& node, Wait& wait, uint32_t index) NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    Passed passed = Passed::kGone;
    bool waits = false;
    {
      MutexLock lock(mutex_);
      node.wait = &wait;
      node.index = index;
      if (!CanSend(&wait)) {
        waits = true;
        send_waits_.PushBack(&node);
      } else if (WakeList none; wait.Fire(index, none)) {
        passed = PutOrHand(node.value, wake, &wait);
        if (passed == Passed::kDone) node.passed = passed;
      }
    }
    if (waits) MakeKnown();
    Schedule(wake);
    return passed == Passed::kRetry;
  }
  bool EnterReceive(ReceiveNode<T>& node, Wait& wait, uint32_t index) NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    Passed passed = Passed::kGone;
    bool waits = false;
    {
      MutexLock lock(mutex_);
      node.wait = &wait;
      node.index = index;
      if (!CanReceive(&wait)) {
        waits = true;
        receive_waits_.PushBack(&node);
      } else if (WakeList none; wait.Fire(index, none) || PLANTED(select_takes_twice)) {
        passed = GetOrTake(node.value, wake, &wait);
      }
    }
    if (waits) MakeKnown();
    Schedule(wake);
    return passed == Passed::kRetry;
  }

  // Also waits for whoever is just handing over.
  void Leave(ListNode<>& node) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    node.Unlink();
  }

  // Without a wait. kRetry: it would have to wait.
  Passed SendNow(T& value) NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    Passed passed;
    {
      MutexLock lock(mutex_);
      passed = PutOrHand(value, wake, nullptr);
    }
    Schedule(wake);
    return passed;
  }
  Passed ReceiveNow(std::optional<T>& value) NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    Passed passed;
    {
      MutexLock lock(mutex_);
      passed = GetOrTake(value, wake, nullptr);
    }
    Schedule(wake);
    return passed;
  }
  absl::Status TrySend(T value) { return SendStatus(SendNow(value)); }
  absl::StatusOr<T> TryReceive() {
    std::optional<T> value;
    const Passed passed = ReceiveNow(value);
    if (value) return std::move(*value);
    return passed == Passed::kGone ? ClosedStatus() : EmptyStatus();
  }

  void AddSender() NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++senders_;
  }
  void AddReceiver() NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++receivers_;
  }
  void RemoveSender() NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    {
      MutexLock lock(mutex_);
      if (--senders_ == 0 && !PLANTED(last_sender_close_lost)) FireAll(receive_waits_, wake);
    }
    Schedule(wake);
  }
  void RemoveReceiver() NURSERY_EXCLUDES(mutex_) {
    WakeList wake;
    {
      MutexLock lock(mutex_);
      if (--receivers_ == 0 && !PLANTED(last_receiver_close_lost)) FireAll(send_waits_, wake);
    }
    Schedule(wake);
  }

  void NoteHolder(HandleNode& handle, TaskKey holder, bool sends) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    handle.holder = holder;
    (sends ? sender_handles_ : receiver_handles_).PushBack(&handle);
  }
  void ForgetHolder(HandleNode& handle) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    handle.Unlink();
    handle.holder = {};
  }

  ChannelStats Stats() const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ChannelStats stats;
    stats.capacity = static_cast<int64_t>(capacity_);
    stats.length = static_cast<int64_t>(buffer_.size());
    stats.senders = senders_;
    stats.receivers = receivers_;
    return stats;
  }

 private:
  void VisitQueues(absl::FunctionRef<void(WaitQueue queue)> visit) const override
      NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    visit(QueueOf(send_waits_, receiver_handles_, receivers_));
    visit(QueueOf(receive_waits_, sender_handles_, senders_));
  }

  // "Can" includes learning at once that it never will: the other side is gone. `own` is the
  // caller's wait: a Select that both sends and receives is no partner of itself.
  bool CanSend(const Wait* own) NURSERY_REQUIRES(mutex_) {
    return receivers_ == 0 || buffer_.size() < capacity_ || Partner(receive_waits_, own) != nullptr;
  }
  bool CanReceive(const Wait* own) NURSERY_REQUIRES(mutex_) {
    return senders_ == 0 || !buffer_.empty() || Partner(send_waits_, own) != nullptr;
  }

  // The first one that waits on the other side. Waits that something else has ended already will
  // leave by themselves; they are no partners.
  template <class Node>
  Node* Partner(List<Node>& waits, const Wait* own) NURSERY_REQUIRES(mutex_) {
    for (Node* node = waits.front(); node != nullptr;) {
      const bool decided = node->wait->decided() && !PLANTED(value_handed_to_cancelled);
      if (node->wait != own && !decided) return node;
      Node* const passed_over = std::exchange(node, waits.next(node));
      if (decided && passed_over->wait != own) passed_over->Unlink();
    }
    return nullptr;
  }

  Passed PutOrHand(T& value, WakeList& wake, const Wait* own) NURSERY_REQUIRES(mutex_) {
    if (receivers_ == 0) return Passed::kGone;
    while (ReceiveNode<T>* node = Partner(receive_waits_, own)) {
      node->Unlink();
      const bool fired = node->wait->Fire(node->index, wake);
      if (!fired && !PLANTED(value_handed_to_cancelled)) continue;
      node->value = std::move(value);
      return Passed::kDone;
    }
    if (buffer_.size() >= capacity_) return Passed::kRetry;
    buffer_.push_back(std::move(value));
    return Passed::kDone;
  }

  Passed GetOrTake(std::optional<T>& value, WakeList& wake, const Wait* own)
      NURSERY_REQUIRES(mutex_) {
    if (!buffer_.empty() && !(PLANTED(buffer_dropped_at_close) && senders_ == 0)) {
      value = std::move(buffer_.front());
      buffer_.pop_front();
    }
    while (SendNode<T>* node = Partner(send_waits_, own)) {
      node->Unlink();
      if (!node->wait->Fire(node->index, wake)) continue;
      node->passed = Passed::kDone;
      if (value) {
        buffer_.push_back(std::move(node->value));
      } else {
        value = std::move(node->value);
      }
      break;
    }
    if (value) return Passed::kDone;
    return senders_ == 0 ? Passed::kGone : Passed::kRetry;
  }

  template <class Node>
  void FireAll(List<Node>& waits, WakeList& wake) NURSERY_REQUIRES(mutex_) {
    while (Node* node = waits.PopFront()) node->wait->Fire(node->index, wake);
  }

  const size_t capacity_;
  mutable Mutex mutex_;
  std::deque<T> buffer_ NURSERY_GUARDED_BY(mutex_);
  mutable List<SendNode<T>> send_waits_ NURSERY_GUARDED_BY(mutex_);
  mutable List<ReceiveNode<T>> receive_waits_ NURSERY_GUARDED_BY(mutex_);
  mutable List<HandleNode, HandleTag> sender_handles_ NURSERY_GUARDED_BY(mutex_);
  mutable List<HandleNode, HandleTag> receiver_handles_ NURSERY_GUARDED_BY(mutex_);
  int64_t senders_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t receivers_ NURSERY_GUARDED_BY(mutex_) = 0;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_CHANNEL_STATE_H_
