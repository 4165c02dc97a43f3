#include "nursery/core/leak.h"

#include <unordered_set>
#include <utility>

#include "nursery/core/executor.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/snapshot.h"

namespace nursery::leak {

using internal::TaskEntry;
using internal::TaskSnapshot;

namespace {

LiveTask LiveTaskOf(const TaskEntry& entry, Time now) {
  LiveTask task;
  task.id = entry.id;
  task.parent_id = entry.parent_id;
  task.name = entry.name;
  task.doing = entry.doing();
  if (entry.line.line() != 0) task.at = internal::LineText(entry.line);
  task.spawned_at = internal::LineText(entry.spawn_site);
  task.age = now - entry.spawned;
  return task;
}

uint64_t RootOf(const TaskSnapshot& snapshot, uint64_t id) {
  for (const TaskEntry* entry = snapshot.Find(id); entry != nullptr;
       entry = snapshot.Find(entry->parent_id)) {
    id = entry->id;
  }
  return id;
}

// Adds the tasks after `last_id`; with a `root`, those below it.
void Collect(const TaskSnapshot& snapshot, uint64_t last_id, uint64_t root,
             std::vector<LiveTask>& found) {
  std::unordered_set<uint64_t> below = {root};
  for (const TaskEntry& entry : snapshot.tasks) {
    // Parents stand before their children.
    if (root != 0 && !below.contains(entry.parent_id)) continue;
    if (root != 0) below.insert(entry.id);
    if (entry.id > last_id) found.push_back(LiveTaskOf(entry, snapshot.taken));
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const LiveTask& task) {
  stream << "task " << task.id << " [" << task.doing << "] " << task.name;
  if (!task.at.empty()) stream << ", at " << task.at;
  stream << (task.parent_id == 0 ? ", started at " : ", spawned at ") << task.spawned_at;
  if (task.parent_id != 0) stream << " by task " << task.parent_id;
  return stream;
}

Mark Mark::OfProcess() {
  Mark mark;
  internal::TaskRegistry::ForEach([&mark](const internal::TaskRegistry& registry) {
    mark.last_ids_[registry.number()] = registry.last_id();
  });
  return mark;
}

Mark MarkAwaiter::await_resume() const {
  const internal::TaskRegistry& registry = task_->executor->registry();
  Mark mark;
  mark.registry_ = registry.number();
  mark.root_ = RootOf(registry.Snapshot(), task_->id);
  mark.last_ids_[mark.registry_] = registry.last_id();
  return mark;
}

std::vector<LiveTask> Verify(const Mark& mark) {
  std::vector<LiveTask> found;
  for (const TaskSnapshot& snapshot : internal::SnapshotAll()) {
    if (mark.registry_ != 0 && mark.registry_ != snapshot.registry) continue;
    const auto last = mark.last_ids_.find(snapshot.registry);
    Collect(snapshot, last == mark.last_ids_.end() ? 0 : last->second, mark.root_, found);
  }
  return found;
}

std::vector<LiveTask> Stuck(Duration grace) {
  std::vector<LiveTask> found;
  for (const TaskSnapshot& snapshot : internal::SnapshotAll()) {
    for (const TaskEntry& entry : snapshot.tasks) {
      if (entry.IsStuck(snapshot.taken, grace)) found.push_back(LiveTaskOf(entry, snapshot.taken));
    }
  }
  return found;
}

}  // namespace nursery::leak
