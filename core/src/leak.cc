#include "nursery/core/leak.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/snapshot.h"

namespace nursery::leak {

using internal::TaskEntry;
using internal::TaskRecord;
using internal::TaskRegistry;

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

namespace {

// Adds the tasks of `registry` that are wanted.
void Find(const TaskRegistry& registry, absl::FunctionRef<bool(const TaskRecord& task)> wanted,
          std::vector<LiveTask>& found) {
  std::vector<TaskEntry> entries;
  registry.ForEachTask([&](const TaskRecord& task) {
    if (wanted(task)) entries.push_back(internal::EntryOf(task));
  });
  std::sort(entries.begin(), entries.end(),
            [](const TaskEntry& one, const TaskEntry& other) { return one.id < other.id; });
  const Time now = registry.clock().Now();
  for (const TaskEntry& entry : entries) found.push_back(LiveTaskOf(entry, now));
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const LiveTask& task) {
  stream << "task " << task.id << " [" << task.doing << "] " << internal::OneLine(task.name);
  if (!task.at.empty()) stream << ", at " << task.at;
  stream << (task.parent_id == 0 ? ", started at " : ", spawned at ") << task.spawned_at;
  if (task.parent_id != 0) stream << " by task " << task.parent_id;
  return stream;
}

Mark Mark::OfProcess() {
  Mark mark;
  TaskRegistry::ForEach([&mark](const TaskRegistry& registry) {
    mark.last_ids_[registry.number()] = registry.last_id();
  });
  return mark;
}

Mark MarkAwaiter::await_resume() const {
  const TaskRegistry& registry = task_->executor->registry();
  Mark mark;
  mark.registry_ = registry.number();
  mark.root_ = task_->root_id;
  mark.last_ids_[mark.registry_] = registry.last_id();
  return mark;
}

std::vector<LiveTask> Verify(const Mark& mark) {
  std::vector<LiveTask> found;
  TaskRegistry::ForEach([&](const TaskRegistry& registry) {
    if (mark.registry_ != 0 && mark.registry_ != registry.number()) return;
    const auto last = mark.last_ids_.find(registry.number());
    const uint64_t last_id = last == mark.last_ids_.end() ? 0 : last->second;
    const auto is_new = [&](const TaskRecord& task) {
      return task.id > last_id && (mark.root_ == 0 || mark.root_ == task.root_id);
    };
    Find(registry, is_new, found);
  });
  return found;
}

std::vector<LiveTask> Stuck(Duration grace) {
  std::vector<LiveTask> found;
  TaskRegistry::ForEach([&](const TaskRegistry& registry) {
    const Time now = registry.clock().Now();
    const auto is_stuck = [&](const TaskRecord& task) {
      return internal::IsStuck(task.context->cancel_time(), now, grace);
    };
    Find(registry, is_stuck, found);
  });
  return found;
}

}  // namespace nursery::leak
