// Pool: named slots that actions occupy while they run.
//
// Who waits is served by priority class (9 first; a minute of waiting raises by one class), within
// a class round robin over fair keys (jobs), within a key first come first served.
//
// Thread safety: any thread. Lifetime: the pool outlives its slots and waiters.
// Suspends: Acquire until a slot is free. Resumes on: the executor.
// Cancellation: returns the cause's status; no slot is taken.
//
//   absl::StatusOr<PoolSlot> slot = co_await pool.Acquire(ctx, PoolRequest(priority, job_key));
#ifndef NURSERY_SERVER_ENGINE_POOL_H_
#define NURSERY_SERVER_ENGINE_POOL_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/wait.h"
#include "nursery/core/mutex.h"
#include "server/engine/engine_stats.h"

namespace nursery::engine {

class Pool;

// One occupied slot, given back when it dies.
class [[nodiscard]] PoolSlot {
 public:
  PoolSlot() = default;
  PoolSlot(PoolSlot&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
  PoolSlot& operator=(PoolSlot&& other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~PoolSlot();

  bool held() const { return pool_ != nullptr; }

 private:
  friend class Pool;
  explicit PoolSlot(Pool* pool) : pool_(pool) {}

  Pool* pool_ = nullptr;
};

inline constexpr int kPriorityClasses = 10;

struct PoolRequest {
  // priority: 0 to 9. Requests of one key share the pool fairly with those of others.
  PoolRequest(int the_priority, uint64_t the_key) : priority(the_priority), key(the_key) {}

  int priority;
  uint64_t key;
};

struct PoolStats {
  int64_t slots = 0;
  int64_t in_use = 0;
  int64_t waiting = 0;
  DurationCounts waits;  // of those that got a slot
};

class Pool {
 public:
  // slots >= 1.
  Pool(std::string name, int64_t slots);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  class [[nodiscard]] AcquireAwaiter;

  AcquireAwaiter Acquire(Context context, PoolRequest request);

  const std::string& name() const { return name_; }
  int64_t slots() const { return slots_.load(std::memory_order_relaxed); }
  // slots >= 1. More are given out at once; with fewer, those that are taken stay so until they are
  // given back.
  void Resize(int64_t slots) NURSERY_EXCLUDES(mutex_);
  PoolStats Stats() const NURSERY_EXCLUDES(mutex_);

 private:
  friend class PoolSlot;
  struct Waiter final : internal::Wait, internal::ListNode<Pool> {
    explicit Waiter(PoolRequest the_request) : request(the_request) {}
    const PoolRequest request;
    Time since{};
  };
  using Queue = internal::List<Waiter, Pool>;
  // The waiters of one class: a queue for each key, and the key whose turn it is.
  struct Class {
    std::map<uint64_t, Queue> queues;
    uint64_t turn = 0;
  };

  void Enter(Waiter& waiter) NURSERY_EXCLUDES(mutex_);
  void Leave(Waiter& waiter) NURSERY_EXCLUDES(mutex_);
  void Release() NURSERY_EXCLUDES(mutex_);
  void Grant(Time now, internal::WakeList& wake) NURSERY_REQUIRES(mutex_);
  Waiter* Best(Time now) NURSERY_REQUIRES(mutex_);
  void Remove(Waiter& waiter) NURSERY_REQUIRES(mutex_);
  static Queue* Turn(Class& of);

  const std::string name_;
  mutable Mutex mutex_;
  std::atomic<int64_t> slots_;               // changed under the lock
  int64_t free_ NURSERY_GUARDED_BY(mutex_);  // below 0 after a cut, until enough are given back
  int64_t waiting_ NURSERY_GUARDED_BY(mutex_) = 0;
  const Clock* clock_ NURSERY_GUARDED_BY(mutex_) = nullptr;
  DurationHistogram waits_;
  std::array<Class, kPriorityClasses> classes_ NURSERY_GUARDED_BY(mutex_);
};

class [[nodiscard]] Pool::AcquireAwaiter {
 public:
  AcquireAwaiter(Pool& pool, Context context, PoolRequest request)
      : pool_(pool), context_(std::move(context)), waiter_(request) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return waiter_.Suspend(handle, &context_.node(), WaitReason::kSemaphore, &pool_,
                           [this] { pool_.Enter(waiter_); });
  }
  absl::StatusOr<PoolSlot> await_resume();

 private:
  Pool& pool_;
  Context context_;
  Waiter waiter_;
};

inline Pool::AcquireAwaiter Pool::Acquire(Context context, PoolRequest request) {
  return AcquireAwaiter(*this, std::move(context), request);
}

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_POOL_H_
