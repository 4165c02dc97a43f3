// TaskRegistry: all live tasks of one executor. The registries of a process know each other, for
// dumps of everything.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_REGISTRY_H_
#define NURSERY_CORE_INTERNAL_REGISTRY_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "nursery/core/clock.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/mutex.h"
#include "nursery/core/scheduler_stats.h"
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
  SchedulerStats scheduler;
};

namespace internal {

struct TaskEntry;
struct TaskSnapshot;

// Threads register their tasks in different shards, so that they are not in each other's way.
//
// Invariant: each shard is in the order of the ids. A parent has a smaller id than its children.
class TaskRegistry : public ListNode<> {
 public:
  // Is called under the lock of the task's shard, so it only takes down what it sees.
  using Look = absl::FunctionRef<void(const TaskRecord& task)>;
  class Walk;

  // Spawns beyond `limit` live tasks are refused.
  TaskRegistry(const Clock& clock, int64_t limit);
  ~TaskRegistry();

  // False: the limit is reached.
  bool Add(TaskRecord* task);
  // Not refused, but counted: roots, of which there is one for each thread that waits for it, and
  // tasks of groups that go beyond the limit.
  void AddBeyondLimit(TaskRecord* task);
  void Remove(TaskRecord* task);
  // RESOURCE_EXHAUSTED, for whom Add has refused.
  absl::Status FullStatus() const;
  TaskStats Stats() const;
  // TaskStats::stuck with another grace.
  int64_t CountStuck(Duration grace) const;
  // Every task that lives from the call to its return, once, and with it its parents; those that
  // end meanwhile may be there or not. A lock is taken for a few tasks at a time: spawns and ends
  // go on.
  TaskSnapshot Snapshot() const;
  // Calls `look` with each task that Snapshot would have, and perhaps with some that end meanwhile
  // and whose parents it does not see. In no order.
  void ForEachTask(Look look) const;
  std::string Dump() const;
  // Of the task that a thread runs; nothing: it runs none any more.
  std::optional<Stall> Describe(const std::atomic<const TaskRecord*>& running) const;

  const Clock& clock() const { return clock_; }
  // Of this registry alone in the life of the process.
  uint64_t number() const { return number_; }
  int64_t live() const;
  // Of the task that was spawned last; 0: none was.
  uint64_t last_id() const { return last_id_.load(std::memory_order_acquire); }

  // Calls `visit` with every registry of the process. Each stays while it is visited; others may
  // come and go.
  static void ForEach(absl::FunctionRef<void(const TaskRegistry& registry)> visit);

 private:
  class Hurry;
  class Visit;
  struct alignas(128) Shard {
    mutable Mutex mutex;
    mutable List<TaskRecord> tasks NURSERY_GUARDED_BY(mutex);
    mutable List<Walk> walks NURSERY_GUARDED_BY(mutex);  // that stand here
    int64_t live NURSERY_GUARDED_BY(mutex) = 0;
    int64_t places NURSERY_GUARDED_BY(mutex) = 0;  // under the limit, for its next tasks
    mutable std::atomic<int> walkers{0};           // how many walks stand here
  };
  static constexpr size_t kShards = 16;
  // So many places a shard takes at once, so that threads that spawn rarely meet; fewer where there
  // are few left.
  static constexpr int64_t kPlaces = 64;

  // Of this thread, or one where no walk would be in its way.
  Shard& ChooseShard(TaskRecord* task);
  // The next one behind `shard` where no walk stands.
  [[gnu::noinline]] uint32_t WithoutWalk(uint32_t shard) const;
  bool TakePlace(Shard& shard) NURSERY_REQUIRES(shard.mutex);
  void Insert(Shard& shard, TaskRecord* task) NURSERY_REQUIRES(shard.mutex);
  // Of all shards, which keep some that they do not use.
  void GatherPlaces();
  void LetOthersGoFirst() const;

  int visits_ = 0;  // under the lock of all registries
  const Clock& clock_;
  const uint64_t number_;
  const int64_t limit_;
  mutable std::atomic<int> walking_{0};
  mutable std::atomic<int> hurried_{0};  // spawns and ends that began while somebody walks
  // Under the limit, of no shard; below 0: so many tasks are beyond it. Relaxed: only the number
  // counts.
  std::atomic<int64_t> free_places_;
  alignas(128) std::atomic<uint64_t> last_id_{0};  // raised under the lock of the task's shard
  std::array<Shard, kShards> shards_;
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

  // Stands at the first task of a shard, or no longer in the one where it stands.
  void Enter(size_t shard);
  void Leave();

  const TaskRegistry& registry_;
  const uint64_t last_id_;
  const int64_t live_;
  size_t shard_ = 0;
  TaskRecord* next_ = nullptr;  // guarded by the shard's mutex
};

// One of each executor of the process.
std::vector<TaskSnapshot> SnapshotAll();

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_REGISTRY_H_
