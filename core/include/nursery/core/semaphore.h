// Semaphore: weighted permits, first come first served, as golang.org/x/sync/semaphore.
//
// A large request at the head is not starved by small ones behind it. A Permit gives its weight
// back when it dies.
//
// Thread safety: any thread. Lifetime: the semaphore outlives its permits and waiters.
// Suspends: Acquire while the permits are not free. Resumes on: the executor.
// Cancellation: Acquire returns the cause's status; it takes nothing, even if permits are free.
// Order: FIFO.
//
//   absl::StatusOr<Permit> permit = co_await db.Acquire(ctx, 2);
//   if (!permit.ok()) co_return permit.status();
#ifndef NURSERY_CORE_SEMAPHORE_H_
#define NURSERY_CORE_SEMAPHORE_H_

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/wait.h"
#include "nursery/core/internal/wait_site.h"
#include "nursery/core/mutex.h"

namespace nursery {

class Semaphore;

namespace internal {
template <class Function>
class HoldingPermit;
}  // namespace internal

// Holds `weight` of a semaphore until it dies or is released.
class [[nodiscard]] Permit {
  struct Made {
    Semaphore* semaphore;
    int64_t weight;
    internal::HolderTable::Holder* holder;
  };

 public:
  Permit() = default;
  Permit(Permit&& other) noexcept { Take(other); }
  Permit& operator=(Permit&& other) noexcept {
    if (this == &other) return *this;
    Release();
    Take(other);
    return *this;
  }
  ~Permit() { Release(); }

  // For the semaphore: made where it stays, since a move would forget who holds it.
  explicit Permit(Made made)
      : semaphore_(made.semaphore), weight_(made.weight), holder_(made.holder) {}

  void Release();
  int64_t weight() const { return weight_; }

 private:
  friend class Semaphore;
  template <class Function>
  friend class internal::HoldingPermit;
  // The running task holds it from now on.
  void PassToThisTask();
  void Take(Permit& other) {
    semaphore_ = std::exchange(other.semaphore_, nullptr);
    weight_ = std::exchange(other.weight_, 0);
    holder_ = std::exchange(other.holder_, nullptr);
    // Whose it is now nobody knows.
    if (holder_ != nullptr && !PLANTED(moved_permit_still_held)) holder_->Forget();
  }

  Semaphore* semaphore_ = nullptr;
  int64_t weight_ = 0;
  internal::HolderTable::Holder* holder_ = nullptr;  // known to the wait-for graph
};

// A task as dumps of its executor number it, and the weight of one permit that it holds.
struct SemaphoreHolder {
  uint64_t task = 0;
  int64_t weight = 0;
};

struct SemaphoreStats {
  int64_t size = 0;
  int64_t held = 0;
  int64_t waiters = 0;
};

class Semaphore final : internal::WaitSite {
 public:
  // size >= 1.
  explicit Semaphore(int64_t size);
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  class [[nodiscard]] AcquireAwaiter;

  // Waits for `weight`. INVALID_ARGUMENT at once when it is below 1 or above the size.
  AcquireAwaiter Acquire(internal::AwaitedContext context, int64_t weight = 1);
  // Nothing when the weight is not free, somebody waits, or Acquire would give INVALID_ARGUMENT.
  std::optional<Permit> TryAcquire(int64_t weight = 1) NURSERY_EXCLUDES(mutex_);

  SemaphoreStats Stats() const NURSERY_EXCLUDES(mutex_);
  // The names of the tasks that wait, first come first, at most `limit`.
  std::vector<std::string> Waiters(size_t limit = 20) const NURSERY_EXCLUDES(mutex_);
  // Who holds its permits, in no order. A permit that was moved is held by nobody who is known,
  // unless SpawnWith has passed it to a task.
  std::vector<SemaphoreHolder> Holders() const NURSERY_EXCLUDES(mutex_);

 private:
  friend class Permit;
  struct Waiter final : internal::Wait, internal::ListNode<Semaphore> {
    int64_t weight = 0;
    internal::HolderTable::Holder* holder = nullptr;  // once it has got its weight
  };

  void VisitQueues(absl::FunctionRef<void(internal::WaitQueue queue)> visit) const override
      NURSERY_EXCLUDES(mutex_);
  bool CanHold(int64_t weight) const { return weight >= 1 && weight <= size_; }
  // For the running task.
  bool TryTake(int64_t weight, internal::HolderTable::Holder*& holder) NURSERY_EXCLUDES(mutex_) {
    const internal::TaskKey task = internal::CurrentKey();
    MutexLock lock(mutex_);
    if (!Take(weight)) return false;
    holder = holders_.Add(task, weight);
    return true;
  }
  bool Take(int64_t weight) NURSERY_REQUIRES(mutex_) {
    const bool behind_others = !waiters_.empty() && !PLANTED(barging);
    if (behind_others || free_ < weight) return false;
    free_ -= weight;
    return true;
  }
  void Release(int64_t weight, internal::HolderTable::Holder* holder) NURSERY_EXCLUDES(mutex_) {
    internal::WakeList wake;
    {
      MutexLock lock(mutex_);
      free_ += weight;
      holders_.Remove(holder);
      NURSERY_CHECK(free_ <= size_) << "released more than was acquired";
      if (!waiters_.empty()) Grant(wake);
    }
    internal::Schedule(wake);
  }
  // Who holds a permit from now on.
  void SetHolder(internal::HolderTable::Holder*& holder, internal::TaskKey task, int64_t weight)
      NURSERY_EXCLUDES(mutex_);
  void Enter(Waiter& waiter) NURSERY_EXCLUDES(mutex_);
  void Leave(Waiter& waiter) NURSERY_EXCLUDES(mutex_);
  void Grant(internal::WakeList& wake) NURSERY_REQUIRES(mutex_);
  absl::Status WeightStatus(int64_t weight) const;  // INVALID_ARGUMENT

  const int64_t size_;
  mutable Mutex mutex_;
  int64_t free_ NURSERY_GUARDED_BY(mutex_);
  int64_t waiting_ NURSERY_GUARDED_BY(mutex_) = 0;
  internal::List<Waiter, Semaphore> waiters_ NURSERY_GUARDED_BY(mutex_);
  internal::HolderTable holders_ NURSERY_GUARDED_BY(mutex_);
};

class [[nodiscard]] Semaphore::AcquireAwaiter {
 public:
  AcquireAwaiter(Semaphore& semaphore, internal::AwaitedContext context, int64_t weight)
      : semaphore_(semaphore), context_(std::move(context)), weight_(weight) {}
  // What is free is taken without a wait, unless the context is cancelled.
  bool await_ready() {
    if (!semaphore_.CanHold(weight_)) return true;
    taken_ = !context_.node().cancelled() && semaphore_.TryTake(weight_, holder_);
    return taken_;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    waiter_.emplace().weight = weight_;
    return waiter_->Suspend(handle, &context_.node(), WaitReason::kSemaphore, &semaphore_,
                            [this] { semaphore_.Enter(*waiter_); });
  }
  absl::StatusOr<Permit> await_resume() {
    if (!taken_) return EndWait();
    return absl::StatusOr<Permit>(absl::in_place, Permit::Made{&semaphore_, weight_, holder_});
  }

 private:
  absl::StatusOr<Permit> EndWait();

  Semaphore& semaphore_;
  internal::AwaitedContext context_;
  const int64_t weight_;
  bool taken_ = false;
  internal::HolderTable::Holder* holder_ = nullptr;  // of what was taken
  std::optional<Waiter> waiter_;                     // where it has to wait
};

inline void Permit::Release() {
  if (semaphore_ == nullptr) return;
  std::exchange(semaphore_, nullptr)
      ->Release(std::exchange(weight_, 0), std::exchange(holder_, nullptr));
}

inline Semaphore::AcquireAwaiter Semaphore::Acquire(internal::AwaitedContext context,
                                                    int64_t weight) {
  return AcquireAwaiter(*this, std::move(context), weight);
}

}  // namespace nursery

#endif  // NURSERY_CORE_SEMAPHORE_H_
