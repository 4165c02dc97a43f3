// TaskRegistry: all live tasks of one executor. The registries of a process know each other, for
// dumps of everything.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_REGISTRY_H_
#define NURSERY_CORE_INTERNAL_REGISTRY_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/mutex.h"
#include "nursery/core/task.h"

namespace nursery {

// Live tasks by state and by wait reason, and how many there ever were.
struct TaskStats {
  std::array<int64_t, kTaskStateCount> by_state{};
  std::array<int64_t, kWaitReasonCount> by_reason{};
  // How long the longest of them has waited.
  std::array<Duration, kWaitReasonCount> oldest{};
  int64_t live = 0;
  int64_t created = 0;
  // Cancelled more than kStuckGrace ago, and alive.
  int64_t stuck = 0;
};

namespace internal {

struct TaskEntry;
struct TaskSnapshot;

// Invariant: the list is in the order of the ids, so that parents stand before their children.
class TaskRegistry : public ListNode<> {
 public:
  explicit TaskRegistry(const Clock& clock);
  ~TaskRegistry();

  void Add(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  void Remove(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  TaskStats Stats() const NURSERY_EXCLUDES(mutex_);
  // Every task that lives from the call to its return, once, and with it its parents; those that
  // end meanwhile may be there or not. The lock is taken for a few tasks at a time: spawns and ends
  // go on.
  TaskSnapshot Snapshot() const NURSERY_EXCLUDES(mutex_);
  // Calls `visit` with each task that Snapshot would have, and gives the time when it was done. It
  // is called under the lock, so it only takes down what it sees.
  Time Visit(void (*visit)(const TaskEntry& entry, void* argument), void* argument) const
      NURSERY_EXCLUDES(mutex_);
  std::string Dump() const NURSERY_EXCLUDES(mutex_);

  // Of this registry alone in the life of the process.
  uint64_t number() const { return number_; }
  // Of the task that was spawned last; 0: none was.
  uint64_t last_id() const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return last_id_;
  }

  // Calls `visit` with every registry of the process; none comes or goes meanwhile.
  static void ForEach(void (*visit)(const TaskRegistry& registry, void* argument), void* argument);

 private:
  // One that goes through the list. A task that ends moves it on.
  struct Walk : ListNode<> {
    TaskRecord* next = nullptr;
  };
  class Hurry;

  // `visit` is called under the lock, for a batch at a time.
  template <class Visit>
  void ForEachTask(Visit visit) const NURSERY_EXCLUDES(mutex_);
  uint64_t Begin(Walk& walk) const NURSERY_EXCLUDES(mutex_);
  template <class Visit>
  bool VisitBatch(Walk& walk, uint64_t last_id, Visit& visit) const NURSERY_EXCLUDES(mutex_);
  void LetOthersGoFirst() const;

  const Clock& clock_;
  const uint64_t number_;
  mutable std::atomic<int> walking_{0};
  mutable std::atomic<int> hurried_{0};  // spawns and ends that began while somebody walks
  mutable Mutex mutex_;
  mutable List<TaskRecord> tasks_ NURSERY_GUARDED_BY(mutex_);
  mutable List<Walk> walks_ NURSERY_GUARDED_BY(mutex_);
  uint64_t last_id_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t live_ NURSERY_GUARDED_BY(mutex_) = 0;
};

// One of each executor of the process.
std::vector<TaskSnapshot> SnapshotAll();

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_REGISTRY_H_
