// Worker: one thread of a Scheduler, its own or a guest.
//
// Thread safety: what is marked "owner" only from the worker's thread.
#ifndef NURSERY_CORE_INTERNAL_WORKER_H_
#define NURSERY_CORE_INTERNAL_WORKER_H_

#include <semaphore.h>

#include <atomic>
#include <cstdint>

#include "nursery/core/internal/run_queue.h"

namespace nursery::internal {

class Scheduler;

struct alignas(128) Worker {
  // A task that was woken last runs next, but not for ever: so many in a row while others wait.
  static constexpr uint32_t kMaxNextInARow = 3;

  Worker() { sem_init(&wake, 0, 0); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { sem_destroy(&wake); }

  // Owner.
  TaskRecord* TakeOwn() {
    const bool fair = in_a_row < kMaxNextInARow || queue.size() == 0;
    if (TaskRecord* task = fair ? queue.PopNext() : nullptr) {
      ++in_a_row;
      return task;
    }
    in_a_row = 0;
    if (TaskRecord* task = queue.PopFront()) return task;
    return queue.PopNext();
  }
  void RunSlice(TaskRecord* task) {
    slices.store(slices.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    TaskRecord::RunSlice(task);
  }

  bool HasTasks() const { return queue.has_next() || queue.size() != 0; }

  RunQueue queue;
  Scheduler* scheduler = nullptr;
  std::atomic<bool> guest{false};
  std::atomic<uint32_t> slices{0};  // that it has started
  // Owner.
  bool searching = false;
  uint32_t tick = 0;
  uint32_t in_a_row = 0;
  uint32_t random = 1;
  // Of the watcher: what it saw at its last look.
  uint32_t slices_seen = 0;
  bool tasks_seen = false;
  bool watches = false;  // under the scheduler's idle_mutex_
  // A semaphore and no condition variable: a wake-up is for this worker and stays until it is seen.
  sem_t wake;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_WORKER_H_
