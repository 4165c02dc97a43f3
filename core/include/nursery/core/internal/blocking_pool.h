// Threads for calls that block. Started as needed up to a limit, ended with the pool.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_BLOCKING_POOL_H_
#define NURSERY_CORE_INTERNAL_BLOCKING_POOL_H_

#include <algorithm>
#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "nursery/core/internal/idle_threads.h"
#include "nursery/core/mutex.h"

namespace nursery::internal {

class BlockingPool {
 public:
  // At least one thread.
  explicit BlockingPool(int max_threads) : max_threads_(std::max(1, max_threads)) {}
  // Waits for the work that was accepted.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // The queue is bounded by the callers: each item is a task that waits for it.
  void Run(absl::AnyInvocable<void() &&> work) NURSERY_EXCLUDES(mutex_);

 private:
  void StartThread() NURSERY_REQUIRES(mutex_);
  void Serve() NURSERY_EXCLUDES(mutex_);

  const int max_threads_;
  Mutex mutex_;
  std::deque<absl::AnyInvocable<void() &&>> queue_ NURSERY_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ NURSERY_GUARDED_BY(mutex_);
  IdleThreads idle_ NURSERY_GUARDED_BY(mutex_);
  bool stopping_ NURSERY_GUARDED_BY(mutex_) = false;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_BLOCKING_POOL_H_
