#include "nursery/core/semaphore.h"

#include "nursery/core/executor.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::HolderTable;
using internal::TaskKey;
using internal::WakeList;

void Permit::PassToThisTask() {
  if (semaphore_ == nullptr) return;
  semaphore_->SetHolder(holder_, internal::CurrentKey(), weight_);
}

Semaphore::Semaphore(int64_t size) : size_(size), free_(size) {
  NURSERY_CHECK(size >= 1) << "a semaphore has at least one permit";
}

Semaphore::~Semaphore() {
  Forget();
  MutexLock lock(mutex_);
  NURSERY_CHECK(free_ == size_) << "permits outlive their semaphore";
}

std::optional<Permit> Semaphore::TryAcquire(int64_t weight) {
  MutexLock lock(mutex_);
  if (!CanHold(weight) || !Take(weight)) return std::nullopt;
  HolderTable::Holder* const holder = holders_.Add(internal::CurrentKey(), weight);
  return std::optional<Permit>(std::in_place, Permit::Made{this, weight, holder});
}

void Semaphore::Enter(Waiter& waiter) {
  {
    WakeList none;  // a wait that is still arming is never scheduled
    MutexLock lock(mutex_);
    if (Take(waiter.weight)) {
      waiter.holder = holders_.Add(internal::KeyOf(*waiter.task()), waiter.weight);
      waiter.Fire(0, none);
      return;
    }
    waiters_.PushBack(&waiter);
    ++waiting_;
  }
  MakeKnown();
}

// Serves the head of the queue as long as its weight is free. A cancelled waiter gets nothing.
void Semaphore::Grant(WakeList& wake) {
  while (Waiter* waiter = waiters_.front()) {
    if (waiter->weight > free_) return;
    waiters_.PopFront();
    --waiting_;
    const int64_t weight = waiter->weight;
    // Before it is fired, after which it may be gone.
    HolderTable::Holder* const holder = holders_.Add(internal::KeyOf(*waiter->task()), weight);
    waiter->holder = holder;
    const bool fired = waiter->Fire(0, wake);
    if (!fired) holders_.Remove(holder);
    if (fired || PLANTED(permit_kept_by_cancelled_waiter)) free_ -= weight;
  }
}

void Semaphore::SetHolder(HolderTable::Holder*& holder, TaskKey task, int64_t weight) {
  MutexLock lock(mutex_);
  if (holder == nullptr) {
    holder = holders_.Add(task, weight);
  } else {
    HolderTable::Set(*holder, task, weight);
  }
}

void Semaphore::Leave(Waiter& waiter) {
  WakeList wake;
  {
    MutexLock lock(mutex_);
    const bool waited = static_cast<internal::ListNode<Semaphore>&>(waiter).linked();
    if (waited) {
      static_cast<internal::ListNode<Semaphore>&>(waiter).Unlink();
      --waiting_;
    }
    // It may have been the large head that held up the small ones.
    if (!PLANTED(followers_forgotten)) Grant(wake);
  }
  internal::Schedule(wake);
}

absl::Status Semaphore::WeightStatus(int64_t weight) const {
  const std::string what =
      weight < 1 ? " is below 1" : " is above the semaphore's size of " + std::to_string(size_);
  return Error(absl::StatusCode::kInvalidArgument, "weight " + std::to_string(weight) + what);
}

absl::StatusOr<Permit> Semaphore::AcquireAwaiter::EndWait() {
  if (!waiter_) return semaphore_.WeightStatus(weight_);
  if (waiter_->Finish()) {
    semaphore_.Leave(*waiter_);
    return context_.status();
  }
  return absl::StatusOr<Permit>(absl::in_place,
                                Permit::Made{&semaphore_, weight_, waiter_->holder});
}

void Semaphore::VisitQueues(absl::FunctionRef<void(internal::WaitQueue)> visit) const {
  internal::WaitQueue queue;
  {
    MutexLock lock(mutex_);
    auto& waiters = const_cast<internal::List<Waiter, Semaphore>&>(waiters_);  // changes nothing
    for (Waiter* waiter = waiters.front(); waiter != nullptr; waiter = waiters.next(waiter)) {
      queue.waiters.push_back({internal::KeyOf(*waiter->task()), waiter->weight});
    }
    holders_.AppendTo(queue.holders);
    queue.total = size_;
  }
  queue.fifo = true;
  visit(std::move(queue));
}

SemaphoreStats Semaphore::Stats() const {
  MutexLock lock(mutex_);
  SemaphoreStats stats;
  stats.size = size_;
  stats.held = size_ - free_;
  stats.waiters = waiting_;
  return stats;
}

std::vector<SemaphoreHolder> Semaphore::Holders() const {
  std::vector<internal::WaitQueue::Part> parts;
  {
    MutexLock lock(mutex_);
    holders_.AppendTo(parts);
  }
  std::vector<SemaphoreHolder> holders;
  for (const auto& part : parts) holders.push_back({part.task.id, part.weight});
  return holders;
}

std::vector<std::string> Semaphore::Waiters(size_t limit) const {
  std::vector<std::string> names;
  MutexLock lock(mutex_);
  auto& waiters = const_cast<internal::List<Waiter, Semaphore>&>(waiters_);  // changes nothing
  for (Waiter* waiter = waiters.front(); waiter != nullptr && names.size() < limit;
       waiter = waiters.next(waiter)) {
    names.emplace_back(std::string_view(waiter->task()->name));
  }
  return names;
}

}  // namespace nursery
