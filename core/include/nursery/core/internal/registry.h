// TaskRegistry: all live tasks of one executor. The registries of a process know each other, for
// dumps of everything.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_REGISTRY_H_
#define NURSERY_CORE_INTERNAL_REGISTRY_H_

#include <array>
#include <cstdint>
#include <string>

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
};

namespace internal {

class TaskRegistry : public ListNode<> {
 public:
  explicit TaskRegistry(const Clock& clock);
  ~TaskRegistry();

  void Add(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  void Remove(TaskRecord* task) NURSERY_EXCLUDES(mutex_);
  TaskStats Stats() const NURSERY_EXCLUDES(mutex_);
  std::string Dump() const NURSERY_EXCLUDES(mutex_);

  // Calls `visit` with every registry of the process; none comes or goes meanwhile.
  static void ForEach(void (*visit)(const TaskRegistry& registry, void* argument), void* argument);

 private:
  template <class Visit>
  void ForEachTask(Visit visit) const NURSERY_REQUIRES(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  mutable List<TaskRecord> tasks_ NURSERY_GUARDED_BY(mutex_);
  uint64_t last_id_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t live_ NURSERY_GUARDED_BY(mutex_) = 0;
};

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_REGISTRY_H_
