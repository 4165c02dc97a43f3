#include "nursery/core/internal/registry.h"

#include <sched.h>

#include <algorithm>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"

namespace nursery::internal {
namespace {

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

void TaskRegistry::ForEach(absl::FunctionRef<void(const TaskRegistry&)> visit) {
  MutexLock lock(All().mutex);
  List<TaskRegistry>& list = All().list;
  for (TaskRegistry* each = list.front(); each != nullptr; each = list.next(each)) {
    visit(*each);
  }
}

void TaskRegistry::Add(TaskRecord* task) {
  task->spawned = clock_.CoarseNow();
  task->since.store(task->spawned, std::memory_order_relaxed);
  const Hurry hurry(*this);
  MutexLock lock(mutex_);
  task->id = ++last_id_;
  if (task->parent_id == 0) task->root_id = task->id;
  ++live_;
  tasks_.PushBack(task);
}

void TaskRegistry::Remove(TaskRecord* task) {
  const Hurry hurry(*this);
  MutexLock lock(mutex_);
  --live_;
  for (Walk* walk = walks_.front(); walk != nullptr; walk = walks_.next(walk)) {
    if (walk->next_ != task) continue;
    walk->next_ = tasks_.next(task);
    if (PLANTED(walk_skips_one) && walk->next_ != nullptr) walk->next_ = tasks_.next(walk->next_);
  }
  task->Unlink();
}

TaskRegistry::Walk::Walk(const TaskRegistry& registry) : registry_(registry) {
  registry_.walking_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(registry_.mutex_);
  next_ = registry_.tasks_.front();
  live_ = registry_.live_;
  last_id_ = registry_.last_id_;
  registry_.walks_.PushBack(this);
}

TaskRegistry::Walk::~Walk() {
  {
    MutexLock lock(registry_.mutex_);
    Unlink();
  }
  registry_.walking_.fetch_sub(1, std::memory_order_relaxed);
}

bool TaskRegistry::Walk::Next(Look look, int size) {
  MutexLock lock(registry_.mutex_);
  for (int i = 0; i < size; ++i) {
    // What was spawned since stands behind, or the walk might never end.
    if (next_ == nullptr || next_->id > last_id_) return false;
    look(*next_);
    next_ = registry_.tasks_.next(next_);
  }
  return true;
}

void TaskRegistry::Walk::Rest(Look look) {
  while (Next(look)) registry_.LetOthersGoFirst();
}

void TaskRegistry::LetOthersGoFirst() const {
  for (int i = 0; i < kYields && hurried_.load(std::memory_order_relaxed) > 0; ++i) sched_yield();
}

void TaskRegistry::ForEachTask(Look look) const { Walk(*this).Rest(look); }

TaskStats TaskRegistry::Stats() const {
  TaskStats stats;
  const Time now = clock_.CoarseNow();
  Walk walk(*this);
  walk.Rest([&stats, now](const TaskRecord& task) {
    const Doing doing = task.state.load(std::memory_order_relaxed);
    const auto reason = static_cast<size_t>(doing.reason);
    ++stats.live;
    ++stats.by_state[static_cast<size_t>(doing.state)];
    ++stats.by_reason[reason];
    Duration& oldest = stats.oldest[reason];
    oldest = std::max(oldest, now - task.since.load(std::memory_order_relaxed));
    if (IsStuck(task.context->cancel_time(), now, kStuckGrace)) ++stats.stuck;
  });
  stats.created = static_cast<int64_t>(walk.last_id());
  return stats;
}

int64_t TaskRegistry::CountStuck(Duration grace) const {
  int64_t stuck = 0;
  const Time now = clock_.CoarseNow();
  ForEachTask([&stuck, now, grace](const TaskRecord& task) {
    if (IsStuck(task.context->cancel_time(), now, grace)) ++stuck;
  });
  return stuck;
}

TaskSnapshot TaskRegistry::Snapshot() const {
  TaskSnapshot snapshot;
  snapshot.registry = number_;
  Walk walk(*this);
  // Under the lock nothing is moved.
  snapshot.tasks.reserve(static_cast<size_t>(walk.live()));
  walk.Rest([&snapshot](const TaskRecord& task) { snapshot.tasks.push_back(EntryOf(task)); });
  snapshot.taken = clock_.Now();
  return snapshot;
}

std::string TaskRegistry::Dump() const { return RenderText(Snapshot()); }

TaskEntry EntryOf(const TaskRecord& task) {
  TaskEntry entry;
  entry.id = task.id;
  entry.parent_id = task.parent_id;
  entry.name = task.name;
  entry.spawn_site = task.spawn_site;
  entry.line = task.line.load(std::memory_order_relaxed);
  const Doing doing = task.state.load(std::memory_order_relaxed);
  entry.state = doing.state;
  entry.reason = doing.reason;
  entry.object = task.object.load(std::memory_order_relaxed);
  entry.since = task.since.load(std::memory_order_relaxed);
  entry.spawned = task.spawned;
  entry.deadline = task.context->deadline();
  entry.cancel_time = task.context->cancel_time();
  return entry;
}

std::vector<TaskSnapshot> SnapshotAll() {
  std::vector<TaskSnapshot> snapshots;
  TaskRegistry::ForEach(
      [&snapshots](const TaskRegistry& registry) { snapshots.push_back(registry.Snapshot()); });
  return snapshots;
}

}  // namespace nursery::internal
