// ContextNode: the shared state behind Context and CancelScope, one node of the cancel tree.
//
// Invariants:
//  1. cause_ is set at most once, under mutex_ and before flag_, and never changes afterwards.
//  2. A node keeps its parent alive, never its children; a dying node unlinks itself in O(1).
//  3. While tasks of a context live they count the references to it that they take and give
//     themselves (CountByTask), so that refs_ is off by those. Whoever owns the tasks holds it up
//     meanwhile, from before the first until after the last.
//  4. Hooks are called under the lock of their node and may only collect whom to wake.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_CONTEXT_NODE_H_
#define NURSERY_CORE_INTERNAL_CONTEXT_NODE_H_

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "nursery/core/cause.h"
#include "nursery/core/internal/frame_pool.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/internal/timers.h"
#include "nursery/core/label.h"
#include "nursery/core/mutex.h"

namespace nursery::internal {

struct HookTag {};
struct ChildTag {};

class AfterFuncHook;

// What a cancellation asks for, done after the locks of the nodes are released.
struct Cancelled {
  WakeList wake;
  std::vector<std::shared_ptr<AfterFuncHook>> callbacks;
};

// What a node calls once when it is cancelled.
class CancelHook : public ListNode<HookTag> {
 public:
  // For the node: called under its lock, already out of its list.
  virtual void OnCancel(Cancelled& cancelled) = 0;

 protected:
  ~CancelHook() = default;
};

// A value and those of the scopes around it.
struct ContextValue {
  const void* key;
  std::shared_ptr<const void> value;
  const ContextValue* outer;
};

class ContextNode final : public ListNode<ChildTag>, public Timer, public Pooled {
 public:
  // A root: it is never cancelled.
  explicit ContextNode(Executor& executor);
  // A child, cancelled at birth when `parent` is. `shielded`: the parent's cancellation does not
  // reach it. `label` names the scope in the error when `deadline` passes.
  ContextNode(ContextNode& parent, bool shielded, Time deadline, Label label);

  void Ref() {
    if (!CountByTask(*this, 1)) refs_.fetch_add(1, std::memory_order_relaxed);
  }
  void Unref() {
    if (LetGo()) Die();
  }
  // Invariant 3.
  void HoldUp() { refs_.fetch_add(kHeldUp, std::memory_order_relaxed); }
  void LetDown() { refs_.fetch_sub(kHeldUp, std::memory_order_acq_rel); }
  void Settle(int64_t references) { refs_.fetch_add(references, std::memory_order_acq_rel); }

  // Cancels this node and all below it, once. False when it was cancelled before. The caller has a
  // reference.
  bool Cancel(std::shared_ptr<const Cause> cause);

  // False, and not added, when the node is cancelled already.
  bool AddHook(CancelHook& hook) NURSERY_EXCLUDES(mutex_);
  void RemoveHook(CancelHook& hook) NURSERY_EXCLUDES(mutex_);

  bool cancelled() const { return flag_.load(std::memory_order_acquire); }
  // The time of the cause; kNever while not cancelled.
  Time cancel_time() const { return cancelled() ? cancel_time_ : kNever; }
  // Null while not cancelled.
  const std::shared_ptr<const Cause>& cause() const {
    static const std::shared_ptr<const Cause> none;
    return cancelled() ? cause_ : none;
  }
  Time deadline() const { return deadline_; }
  Executor& executor() const { return executor_; }

  // Null when no scope up from here has the value. AddValue is for a node that nobody has seen yet.
  const void* FindValue(const void* key) const;
  void AddValue(const void* key, std::shared_ptr<const void> value);

  // Called by the executor for a node whose deadline has expired.
  void DeadlineExpired() { Cancel(DeadlineCause()); }

 private:
  friend class CancelWalk;
  ~ContextNode();
  // Gives a reference back; whether it was the last one.
  bool LetGo() {
    if (CountByTask(*this, -1)) return false;
    const bool only = !listed_ && refs_.load(std::memory_order_acquire) == 1 && IsLast();
    return only || refs_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  // And those above that only it has kept.
  void Die();
  bool TryRef();
  // The only reference to what the parent does not know is the last one, if the timers do not know
  // it either.
  bool IsLast();
  void OnExpire(Expired& expired) override;
  void Adopt(ContextNode& child) NURSERY_EXCLUDES(mutex_);
  // Whoever sees the flag sees the cause and its time.
  void Flag(std::shared_ptr<const Cause> cause, Time time) NURSERY_REQUIRES(mutex_) {
    cause_ = std::move(cause);
    cancel_time_ = time;
    flag_.store(true, std::memory_order_release);
  }
  std::shared_ptr<const Cause> DeadlineCause();

  // Constant after construction.
  Executor& executor_;
  ContextNode* const parent_;
  const bool root_;
  const bool shielded_;
  const Label label_;
  Time deadline_;
  bool timed_ = false;   // has a timer of its own
  bool listed_ = false;  // its parent knows it
  std::unique_ptr<const ContextValue> own_value_;
  const ContextValue* values_ = nullptr;  // own_value_ or the parent's, which this node keeps alive

  static constexpr int64_t kHeldUp = int64_t{1} << 60;
  std::atomic<int64_t> refs_{1};
  std::atomic<bool> flag_{false};
  // Written once, before flag_ is set.
  Time cancel_time_{};
  std::shared_ptr<const Cause> cause_;
  mutable Mutex mutex_;
  List<CancelHook, HookTag> hooks_ NURSERY_GUARDED_BY(mutex_);
  List<ContextNode, ChildTag> children_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_CONTEXT_NODE_H_
