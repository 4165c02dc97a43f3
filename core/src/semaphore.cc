#include "nursery/core/semaphore.h"

#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::WakeList;

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  Release();
  semaphore_ = std::exchange(other.semaphore_, nullptr);
  weight_ = std::exchange(other.weight_, 0);
  return *this;
}

Semaphore::Semaphore(int64_t size) : size_(size), free_(size) {
  NURSERY_CHECK(size >= 1) << "a semaphore has at least one permit";
}

Semaphore::~Semaphore() {
  MutexLock lock(mutex_);
  NURSERY_CHECK(free_ == size_) << "permits outlive their semaphore";
}

std::optional<Permit> Semaphore::TryAcquire(int64_t weight) {
  MutexLock lock(mutex_);
  if (!CanHold(weight) || !Take(weight)) return std::nullopt;
  return Permit(this, weight);
}

void Semaphore::Enter(Waiter& waiter) {
  WakeList none;  // a wait that is still arming is never scheduled
  MutexLock lock(mutex_);
  if (Take(waiter.weight)) {
    waiter.Fire(0, none);
    return;
  }
  waiters_.PushBack(&waiter);
  ++waiting_;
}

// Serves the head of the queue as long as its weight is free. A cancelled waiter gets nothing.
void Semaphore::Grant(WakeList& wake) {
  while (Waiter* waiter = waiters_.front()) {
    if (waiter->weight > free_) return;
    waiters_.PopFront();
    --waiting_;
    const int64_t weight = waiter->weight;
    if (waiter->Fire(0, wake) || PLANTED(permit_kept_by_cancelled_waiter)) free_ -= weight;
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
  if (!semaphore_.CanHold(waiter_.weight)) return semaphore_.WeightStatus(waiter_.weight);
  if (waiter_.Finish()) {
    semaphore_.Leave(waiter_);
    return context_.status();
  }
  return Permit(&semaphore_, waiter_.weight);
}

SemaphoreStats Semaphore::Stats() const {
  MutexLock lock(mutex_);
  SemaphoreStats stats;
  stats.size = size_;
  stats.held = size_ - free_;
  stats.waiters = waiting_;
  return stats;
}

std::vector<std::string> Semaphore::Waiters(size_t limit) const {
  std::vector<std::string> names;
  MutexLock lock(mutex_);
  auto& waiters = const_cast<internal::List<Waiter, Semaphore>&>(waiters_);  // changes nothing
  for (Waiter* waiter = waiters.front(); waiter != nullptr && names.size() < limit;
       waiter = waiters.next(waiter)) {
    names.push_back(waiter->task()->name);
  }
  return names;
}

}  // namespace nursery
