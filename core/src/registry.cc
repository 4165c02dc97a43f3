#include "nursery/core/internal/registry.h"

#include <sched.h>

#include <algorithm>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"

namespace nursery::internal {
namespace {

// As long as some spawns may wait for one that walks; the rest of a walk is not under the lock.
constexpr int kBatch = 256;
// About as long as it takes to wake a thread that sleeps for the lock.
constexpr int kYields = 64;

struct AllRegistries {
  Mutex mutex;
  List<TaskRegistry> list NURSERY_GUARDED_BY(mutex);
};

AllRegistries& All() {
  static AllRegistries& all = *new AllRegistries;  // never destroyed: executors may be static too
  return all;
}

uint64_t NewNumber() {
  static std::atomic<uint64_t> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;  // only unique
}

TaskEntry EntryOf(const TaskRecord& task) {
  TaskEntry entry;
  entry.id = task.id;
  entry.parent_id = task.parent_id;
  entry.name = task.name;
  entry.spawn_site = task.spawn_site;
  entry.line = task.line.load(std::memory_order_relaxed);
  entry.state = task.state.load(std::memory_order_relaxed);
  entry.reason = task.reason.load(std::memory_order_relaxed);
  entry.object = task.object.load(std::memory_order_relaxed);
  entry.since = task.since.load(std::memory_order_relaxed);
  entry.spawned = task.spawned;
  entry.deadline = task.context->deadline();
  entry.cancel_time = task.context->cancel_time();
  return entry;
}

}  // namespace

// A mutex goes to who comes first, and one that walks comes back at once: whoever wants the lock
// meanwhile says so.
class TaskRegistry::Hurry {
 public:
  explicit Hurry(const TaskRegistry& registry)
      : hurried_(registry.walking_.load(std::memory_order_relaxed) > 0 ? &registry.hurried_
                                                                       : nullptr) {
    // Relaxed: a hint; what is shared is under the lock.
    if (hurried_ != nullptr) hurried_->fetch_add(1, std::memory_order_relaxed);
  }
  Hurry(const Hurry&) = delete;
  Hurry& operator=(const Hurry&) = delete;
  ~Hurry() {
    if (hurried_ != nullptr) hurried_->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<int>* const hurried_;
};

TaskRegistry::TaskRegistry(const Clock& clock) : clock_(clock), number_(NewNumber()) {
  MutexLock lock(All().mutex);
  All().list.PushBack(this);
}

TaskRegistry::~TaskRegistry() {
  MutexLock all_lock(All().mutex);
  Unlink();
  MutexLock lock(mutex_);
  NURSERY_CHECK(live_ == 0) << live_ << " tasks outlive their executor";
}

void TaskRegistry::ForEach(void (*visit)(const TaskRegistry&, void*), void* argument) {
  MutexLock lock(All().mutex);
  List<TaskRegistry>& list = All().list;
  for (TaskRegistry* each = list.front(); each != nullptr; each = list.next(each)) {
    visit(*each, argument);
  }
}

void TaskRegistry::Add(TaskRecord* task) {
  task->spawned = clock_.CoarseNow();
  task->since.store(task->spawned, std::memory_order_relaxed);
  const Hurry hurry(*this);
  MutexLock lock(mutex_);
  task->id = ++last_id_;
  ++live_;
  tasks_.PushBack(task);
}

void TaskRegistry::Remove(TaskRecord* task) {
  const Hurry hurry(*this);
  MutexLock lock(mutex_);
  --live_;
  for (Walk* walk = walks_.front(); walk != nullptr; walk = walks_.next(walk)) {
    if (walk->next == task) walk->next = tasks_.next(task);
  }
  task->Unlink();
}

uint64_t TaskRegistry::Begin(Walk& walk) const {
  MutexLock lock(mutex_);
  walk.next = tasks_.front();
  walks_.PushBack(&walk);
  return last_id_;
}

// False: it was the last, and the walk is over.
template <class Look>
bool TaskRegistry::VisitBatch(Walk& walk, uint64_t last_id, Look& visit) const {
  MutexLock lock(mutex_);
  for (int i = 0; i < kBatch; ++i) {
    // What was spawned since stands behind, or the walk might never end.
    if (walk.next == nullptr || walk.next->id > last_id) {
      walk.Unlink();
      return false;
    }
    visit(*walk.next);
    walk.next = tasks_.next(walk.next);
  }
  return true;
}

void TaskRegistry::LetOthersGoFirst() const {
  for (int i = 0; i < kYields && hurried_.load(std::memory_order_relaxed) > 0; ++i) sched_yield();
}

template <class Look>
void TaskRegistry::ForEachTask(Look visit) const {
  Walk walk;
  walking_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t last_id = Begin(walk);
  while (VisitBatch(walk, last_id, visit)) LetOthersGoFirst();
  walking_.fetch_sub(1, std::memory_order_relaxed);
}

TaskStats TaskRegistry::Stats() const {
  TaskStats stats;
  const Time now = clock_.CoarseNow();
  const Time grace_began = now - kStuckGrace;
  ForEachTask([&stats, now, grace_began](const TaskRecord& task) {
    const auto reason = static_cast<size_t>(task.reason.load(std::memory_order_relaxed));
    ++stats.by_state[static_cast<size_t>(task.state.load(std::memory_order_relaxed))];
    ++stats.by_reason[reason];
    Duration& oldest = stats.oldest[reason];
    oldest = std::max(oldest, now - task.since.load(std::memory_order_relaxed));
    if (task.context->cancel_time() < grace_began) ++stats.stuck;
  });
  MutexLock lock(mutex_);
  stats.live = live_;
  stats.created = static_cast<int64_t>(last_id_);
  return stats;
}

TaskSnapshot TaskRegistry::Snapshot() const {
  TaskSnapshot snapshot;
  snapshot.registry = number_;
  {
    MutexLock lock(mutex_);
    snapshot.tasks.reserve(static_cast<size_t>(live_));
  }
  ForEachTask([&snapshot](const TaskRecord& task) { snapshot.tasks.push_back(EntryOf(task)); });
  snapshot.taken = clock_.Now();
  return snapshot;
}

Time TaskRegistry::Visit(void (*visit)(const TaskEntry&, void*), void* argument) const {
  ForEachTask([=](const TaskRecord& task) { visit(EntryOf(task), argument); });
  return clock_.Now();
}

std::string TaskRegistry::Dump() const { return RenderText(Snapshot()); }

std::vector<TaskSnapshot> SnapshotAll() {
  std::vector<TaskSnapshot> snapshots;
  TaskRegistry::ForEach(
      [](const TaskRegistry& registry, void* argument) {
        static_cast<std::vector<TaskSnapshot>*>(argument)->push_back(registry.Snapshot());
      },
      &snapshots);
  return snapshots;
}

}  // namespace nursery::internal
