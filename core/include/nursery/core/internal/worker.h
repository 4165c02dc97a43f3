// Worker: one thread of a Scheduler, its own or a guest.
//
// Thread safety: what is marked "owner" only from the worker's thread.
#ifndef NURSERY_CORE_INTERNAL_WORKER_H_
#define NURSERY_CORE_INTERNAL_WORKER_H_

#include <semaphore.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "nursery/core/internal/run_queue.h"
#include "nursery/core/scheduler_stats.h"

namespace nursery::internal {

class Scheduler;

// A DurationHistogram that one thread writes and any reads.
class DurationCounts {
 public:
  void Add(Duration duration);
  void AddTo(DurationHistogram& sum) const;

 private:
  std::array<std::atomic<int64_t>, DurationHistogram::kBuckets> counts_{};
  std::atomic<int64_t> sum_{0};
};

struct alignas(128) Worker {
  // A task that was woken last runs next, but not for ever: so many in a row while others wait.
  static constexpr uint32_t kMaxNextInARow = 3;
  // Every how many slices the shared queue comes before its own.
  static constexpr uint32_t kSharedInterval = 61;

  Worker() { sem_init(&wake, 0, 0); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { sem_destroy(&wake); }

  // Owner. Whether a task that yields now is the one that comes next: nothing else is there, nor
  // is it time to look for what is shared. It then never stops running, in the words of its record.
  // Not of a guest, which may have to leave it to others.
  bool CanGoOn() const {
    return !HasTasks() && until_shared != 1 && !guest.load(std::memory_order_relaxed);
  }
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
  // And the next ones, as long as it yields to nobody.
  void RunSlice(TaskRecord* task) {
    running.store(task, std::memory_order_relaxed);
    for (;;) {
      slices.store(slices.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      if (task->timed) {
        RunTimed(task);
      } else {
        TaskRecord::RunSlice(task);
      }
      if (!std::exchange(goes_on, false)) break;
      --until_shared;
    }
    running.store(nullptr, std::memory_order_relaxed);
  }
  void RunTimed(TaskRecord* task);

  bool HasTasks() const { return queue.has_next() || queue.size() != 0; }

  RunQueue queue;
  Scheduler* scheduler = nullptr;
  std::atomic<bool> guest{false};
  std::atomic<uint32_t> slices{0};  // that it has started
  // To be compared with what is known to live: it may have ended just now.
  std::atomic<const TaskRecord*> running{nullptr};
  // Owner.
  bool goes_on = false;  // the task that runs has yielded to nobody
  bool searching = false;
  uint32_t until_shared = kSharedInterval;
  uint32_t in_a_row = 0;
  uint32_t random = 1;
  std::vector<uint32_t> slices_of;  // of each worker, when this one looked whether to steal
  // Of the watcher: what it saw at its last look.
  uint32_t slices_seen = 0;
  bool tasks_seen = false;
  bool watches = false;  // under the scheduler's idle_mutex_
  // Of the watchdog: the slice that it saw at its last look.
  struct Look {
    bool runs = false;
    bool named = false;
    uint32_t slice = 0;
    Time first{};    // when it saw that slice first
    Time counted{};  // up to when it counts as stalled
  };
  Look look;
  DurationCounts latency;
  DurationCounts slice_times;
  // A semaphore and no condition variable: a wake-up is for this worker and stays until it is seen.
  sem_t wake;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_WORKER_H_
