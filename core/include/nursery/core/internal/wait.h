// Wait: the one way in which a task waits. Every awaitable of core is built on it.
//
// A Wait lives in the awaiting frame. It is entered in the lists of what can end it (a semaphore, a
// channel, the timers, the context) and ended once by whichever comes first.
//
// Invariants:
//  1. The phase leaves kArming and kWaiting exactly once; who moves it decides the wait and
//     schedules it.
//  2. Whoever fires a Wait holds the lock of the list through which it reached it, takes it out of
//     the list first, and touches it no more after the CAS.
//  3. The owner leaves every list that may still have it (taking the list's lock) before the frame
//     goes on. With 2, nobody ever touches a dead Wait.
//  4. While kArming nobody schedules: the owner still runs and sees the outcome itself.
#ifndef NURSERY_CORE_INTERNAL_WAIT_H_
#define NURSERY_CORE_INTERNAL_WAIT_H_

#include <atomic>
#include <coroutine>
#include <utility>

#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/timers.h"
#include "nursery/core/task.h"

namespace nursery::internal {

class Wait : public CancelHook {
 public:
  Wait() = default;

  // Starts to wait. `enter` puts this Wait into the lists that can fire it and may call Fire itself
  // when there is nothing to wait for. Returns whether the caller must stay suspended; when true,
  // nothing of the awaiter may be touched any more. A null `context` is for the joins that nothing
  // may cut short.
  template <class Promise, class Enter>
  bool Suspend(std::coroutine_handle<Promise> handle, ContextNode* context, WaitReason reason,
               const void* object, Enter&& enter) {
    task_ = handle.promise().task;
    task_->resume_point = handle;
    if (context != nullptr && context->cancelled()) {
      state_.store(kCancelled, std::memory_order_relaxed);
      return false;
    }
    std::forward<Enter>(enter)();
    // What need not wait is not registered with the context at all.
    if (decided()) return false;
    if (context != nullptr) {
      if (!context->AddHook(*this)) {
        WakeList none;  // still arming
        Decide(kCancelled, none);
        return false;
      }
      context_ = context;
    }
    task_->Enter(TaskState::kWaiting, reason, object);
    suspended_ = true;
    return Publish();
  }

  // Ends the wait if it has not ended; `index` tells the owner what ended it. True when this call
  // did: what it hands over must be written under the list's lock, which the owner takes before it
  // reads.
  bool Fire(uint32_t index, WakeList& wake) { return Decide(kFired | index << kIndexShift, wake); }

  // Something has ended the wait already. Under the list's lock, of a Wait that is in the list.
  bool decided() const { return phase() != kArming && phase() != kWaiting; }
  // Makes a finished Wait as new, for another Suspend.
  void Reset() { state_.store(kArming, std::memory_order_relaxed); }
  // It was resumed by who fired it, who had finished by then, its lock released.
  bool resumed_by_fire() const { return suspended_ && phase() == kFired; }

  // After resumption: leaves the context. Whether the context ended the wait.
  bool Finish() {
    const bool cancelled = phase() == kCancelled;
    // The context that ended it has let go of it: 2.
    if (context_ != nullptr && !cancelled) context_->RemoveHook(*this);
    context_ = nullptr;
    return cancelled;
  }
  // What ended the wait, as given to Fire.
  uint32_t index() const { return state_.load(std::memory_order_acquire) >> kIndexShift; }
  TaskRecord* task() const { return task_; }

 protected:
  ~Wait() = default;

 private:
  enum Phase : uint32_t { kArming, kWaiting, kFired, kCancelled };
  static constexpr int kIndexShift = 8;

  uint32_t phase() const { return state_.load(std::memory_order_acquire) & 0xff; }
  void OnCancel(Cancelled& cancelled) override { Decide(kCancelled, cancelled.wake); }

  bool Publish() {
    uint32_t expected = kArming;
    if (state_.compare_exchange_strong(expected, kWaiting, std::memory_order_acq_rel)) return true;
    suspended_ = false;
    task_->Enter(TaskState::kRunning, WaitReason::kNone, nullptr);
    return false;
  }

  bool Decide(uint32_t outcome, WakeList& wake) {
    TaskRecord* const task = task_;  // the Wait may be gone after the exchange
    uint32_t seen = state_.load(std::memory_order_acquire);
    do {
      if (seen != kArming && seen != kWaiting) {
        if (PLANTED(double_resume)) wake.Push(task);
        return false;
      }
    } while (!state_.compare_exchange_weak(seen, outcome, std::memory_order_acq_rel));
    if (seen == kWaiting && !PLANTED(lost_wakeup)) wake.Push(task);
    return true;
  }

  std::atomic<uint32_t> state_{kArming};
  bool suspended_ = false;
  TaskRecord* task_ = nullptr;
  ContextNode* context_ = nullptr;
};

class PlainWait final : public Wait {};

// A Wait that time can end.
class TimedWait final : public Wait, public Timer {
 private:
  void OnExpire(Expired& expired) override { Fire(0, expired.wake); }
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_WAIT_H_
