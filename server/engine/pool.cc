#include "server/engine/pool.h"

#include <algorithm>

#include "nursery/core/executor.h"
#include "server/engine/limits.h"

namespace nursery::engine {

using internal::WakeList;

PoolSlot::~PoolSlot() {
  if (pool_ != nullptr) pool_->Release();
}

Pool::Pool(std::string name, int64_t slots) : name_(std::move(name)), slots_(slots), free_(slots) {
  NURSERY_CHECK(slots >= 1) << "a pool has at least one slot";
}

Pool::~Pool() {
  MutexLock lock(mutex_);
  NURSERY_CHECK(free_ == slots()) << "slots outlive their pool";
}

void Pool::Enter(Waiter& waiter) {
  WakeList none;  // a wait that is still arming is never scheduled
  MutexLock lock(mutex_);
  if (free_ > 0 && waiting_ == 0) {
    if (!waiter.Fire(0, none)) return;
    --free_;
    waits_.Observe(Duration());
    return;
  }
  clock_ = &waiter.task()->executor->clock();
  waiter.since = clock_->Now();
  Class& own = classes_[static_cast<size_t>(std::clamp(waiter.request.priority, 0, 9))];
  own.queues[waiter.request.key].PushBack(&waiter);
  ++waiting_;
}

void Pool::Remove(Waiter& waiter) {
  Class& own = classes_[static_cast<size_t>(std::clamp(waiter.request.priority, 0, 9))];
  static_cast<internal::ListNode<Pool>&>(waiter).Unlink();
  --waiting_;
  auto queue = own.queues.find(waiter.request.key);
  if (queue != own.queues.end() && queue->second.empty()) own.queues.erase(queue);
}

void Pool::Leave(Waiter& waiter) {
  MutexLock lock(mutex_);
  if (static_cast<internal::ListNode<Pool>&>(waiter).linked()) Remove(waiter);
}

// The queue of the key whose turn it is: the first one after the last that was served.
Pool::Queue* Pool::Turn(Class& of) {
  if (of.queues.empty()) return nullptr;
  auto next = of.queues.upper_bound(of.turn);
  if (next == of.queues.end()) next = of.queues.begin();
  return &next->second;
}

Pool::Waiter* Pool::Best(Time now) {
  Waiter* best = nullptr;
  int64_t best_rank = -1;
  for (int i = kPriorityClasses - 1; i >= 0; --i) {
    Queue* queue = Turn(classes_[static_cast<size_t>(i)]);
    if (queue == nullptr) continue;
    Waiter* head = queue->front();
    const int64_t rank = i + (now - head->since) / kPriorityAging;
    if (rank > best_rank) {
      best = head;
      best_rank = rank;
    }
  }
  return best;
}

void Pool::Grant(Time now, WakeList& wake) {
  while (free_ > 0) {
    Waiter* best = Best(now);
    if (best == nullptr) return;
    const PoolRequest request = best->request;
    const Time since = best->since;
    Remove(*best);
    if (!best->Fire(0, wake)) continue;  // cancelled at this moment
    classes_[static_cast<size_t>(std::clamp(request.priority, 0, 9))].turn = request.key;
    --free_;
    waits_.Observe(now - since);
  }
}

void Pool::Release() {
  WakeList wake;
  {
    MutexLock lock(mutex_);
    ++free_;
    if (waiting_ > 0) Grant(clock_->Now(), wake);
  }
  internal::Schedule(wake);
}

absl::StatusOr<PoolSlot> Pool::AcquireAwaiter::await_resume() {
  if (waiter_.Finish()) {
    pool_.Leave(waiter_);
    return context_.status();
  }
  return PoolSlot(&pool_);
}

void Pool::Resize(int64_t slots) {
  NURSERY_CHECK(slots >= 1) << "a pool has at least one slot";
  WakeList wake;
  {
    MutexLock lock(mutex_);
    free_ += slots - slots_.exchange(slots, std::memory_order_relaxed);
    if (waiting_ > 0) Grant(clock_->Now(), wake);
  }
  internal::Schedule(wake);
}

PoolStats Pool::Stats() const {
  MutexLock lock(mutex_);
  return PoolStats{
      .slots = slots(), .in_use = slots() - free_, .waiting = waiting_, .waits = waits_.Read()};
}

}  // namespace nursery::engine
