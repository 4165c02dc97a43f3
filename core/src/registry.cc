#include "nursery/core/internal/registry.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"

namespace nursery::internal {
namespace {

struct AllRegistries {
  Mutex mutex;
  List<TaskRegistry> list NURSERY_GUARDED_BY(mutex);
};

AllRegistries& All() {
  static AllRegistries& all = *new AllRegistries;  // never destroyed: executors may be static too
  return all;
}

std::string Line(const std::source_location& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

std::string Headline(const TaskRecord& task, Time now) {
  const WaitReason reason = task.reason.load(std::memory_order_relaxed);
  const TaskState state = task.state.load(std::memory_order_relaxed);
  std::string text = "task " + std::to_string(task.id) + " [";
  text += reason == WaitReason::kNone ? Name(state) : Name(reason);
  text +=
      ", " + FormatDuration(now - task.since.load(std::memory_order_relaxed)) + "] " + task.name;
  text += "  age " + FormatDuration(now - task.spawned);
  const Time deadline = task.context->deadline();
  if (deadline != kNever) {
    text += deadline > now ? "  deadline in " + FormatDuration(deadline - now)
                           : "  deadline passed " + FormatDuration(now - deadline) + " ago";
  }
  if (task.context->cancelled()) text += "  cancelled";
  if (const void* object = task.object.load(std::memory_order_relaxed)) {
    char address[32];
    std::snprintf(address, sizeof address, "  on %p", object);
    text += address;
  }
  return text;
}

}  // namespace

TaskRegistry::TaskRegistry(const Clock& clock) : clock_(clock) {
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
  MutexLock lock(mutex_);
  task->id = ++last_id_;
  ++live_;
  tasks_.PushBack(task);
}

void TaskRegistry::Remove(TaskRecord* task) {
  MutexLock lock(mutex_);
  --live_;
  task->Unlink();
}

template <class Visit>
void TaskRegistry::ForEachTask(Visit visit) const {
  for (TaskRecord* task = tasks_.front(); task != nullptr; task = tasks_.next(task)) visit(*task);
}

TaskStats TaskRegistry::Stats() const {
  TaskStats stats;
  const Time now = clock_.CoarseNow();
  MutexLock lock(mutex_);
  ForEachTask([&stats, now](const TaskRecord& task) {
    const auto reason = static_cast<size_t>(task.reason.load(std::memory_order_relaxed));
    ++stats.by_state[static_cast<size_t>(task.state.load(std::memory_order_relaxed))];
    ++stats.by_reason[reason];
    Duration& oldest = stats.oldest[reason];
    oldest = std::max(oldest, now - task.since.load(std::memory_order_relaxed));
  });
  stats.live = live_;
  stats.created = static_cast<int64_t>(last_id_);
  return stats;
}

std::string TaskRegistry::Dump() const {
  const Time now = clock_.Now();
  MutexLock lock(mutex_);
  std::unordered_map<uint64_t, const TaskRecord*> by_id;
  ForEachTask([&by_id](const TaskRecord& task) { by_id[task.id] = &task; });
  std::string text = std::to_string(live_) + " tasks\n";
  ForEachTask([&](const TaskRecord& task) {
    text += "\n" + Headline(task, now) + "\n";
    const std::source_location at = task.line.load(std::memory_order_relaxed);
    if (at.line() != 0) text += "    at " + Line(at) + "\n";
    const TaskRecord* inner = &task;
    while (inner->parent_id != 0) {
      text += "    spawned at " + Line(inner->spawn_site) + " by task " +
              std::to_string(inner->parent_id) + "\n";
      auto found = by_id.find(inner->parent_id);
      if (found == by_id.end()) return;
      inner = found->second;
    }
    text += "    started at " + Line(inner->spawn_site) + " as " + inner->name + "\n";
  });
  return text;
}

}  // namespace nursery::internal
