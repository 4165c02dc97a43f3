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

#include "absl/functional/function_ref.h"
#include "nursery/core/clock.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/mutex.h"
#include "nursery/core/task.h"

namespace nursery {

// Live tasks by state and by wait reason, and how many there ever were. A task that ends while they
// are counted counts as live everywhere or nowhere; one that starts meanwhile, nowhere.
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
  // Is called under the lock, so it only takes down what it sees.
  using Look = absl::FunctionRef<void(const TaskRecord& task)>;
  class Walk;

  explicit TaskRegistry(const Clock& clock);
  ~TaskRegistry();

  void Add(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  void Remove(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  TaskStats Stats() const NURSERY_EXCLUDES(mutex_);
  // TaskStats::stuck with another grace.
  int64_t CountStuck(Duration grace) const NURSERY_EXCLUDES(mutex_);
  // Every task that lives from the call to its return, once, and with it its parents; those that
  // end meanwhile may be there or not. The lock is taken for a few tasks at a time: spawns and ends
  // go on.
  TaskSnapshot Snapshot() const NURSERY_EXCLUDES(mutex_);
  // Calls `look` with each task that Snapshot would have.
  void ForEachTask(Look look) const NURSERY_EXCLUDES(mutex_);
  std::string Dump() const NURSERY_EXCLUDES(mutex_);

  const Clock& clock() const { return clock_; }
  // Of this registry alone in the life of the process.
  uint64_t number() const { return number_; }
  int64_t live() const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return live_;
  }
  // Of the task that was spawned last; 0: none was.
  uint64_t last_id() const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return last_id_;
  }

  // Calls `visit` with every registry of the process; none comes or goes meanwhile.
  static void ForEach(absl::FunctionRef<void(const TaskRegistry& registry)> visit);

 private:
  class Hurry;

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

// Goes through the tasks that live when it begins, in batches; it may stop anywhere. What ends
// before its turn is left out, and moves the walk on if that stands there.
//
// Thread safety: one thread. Lifetime: within that of the registry.
class TaskRegistry::Walk : public ListNode<> {
 public:
  // So many that some spawns may wait for a batch.
  static constexpr int kBatch = 256;

  explicit Walk(const TaskRegistry& registry);
  ~Walk();

  // Of when it began: no more than `live` are seen, and none after `last_id`.
  int64_t live() const { return live_; }
  uint64_t last_id() const { return last_id_; }

  // Looks at the next ones, `size` at most. False: that was the last.
  bool Next(Look look, int size = kBatch);
  // Looks at all that are left.
  void Rest(Look look);

 private:
  friend class TaskRegistry;

  const TaskRegistry& registry_;
  // Guarded by the registry's mutex.
  TaskRecord* next_ = nullptr;
  // Constant after construction.
  int64_t live_ = 0;
  uint64_t last_id_ = 0;
};

// One of each executor of the process.
std::vector<TaskSnapshot> SnapshotAll();

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_REGISTRY_H_
