// TaskSnapshot: the live tasks of one executor as plain data, from which dumps are rendered.
//
// Each task is as it was at some moment while the snapshot was taken; the moments differ, and one
// that goes on meanwhile may have its line, object or time of one state and the state of the next.
//
// Thread safety: none; it belongs to who took it.
#ifndef NURSERY_CORE_INTERNAL_SNAPSHOT_H_
#define NURSERY_CORE_INTERNAL_SNAPSHOT_H_

#include <algorithm>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/internal/breather.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/leak.h"
#include "nursery/core/task.h"

namespace nursery::internal {

struct TaskEntry {
  uint64_t id = 0;
  uint64_t parent_id = 0;  // 0: a root
  std::string name;
  std::source_location spawn_site;
  std::source_location line;  // of the co_await it stands at; line 0: it has not come to one
  TaskState state = TaskState::kRunnable;
  WaitReason reason = WaitReason::kNone;
  const void* object = nullptr;
  const void* owner = nullptr;  // its group
  uint32_t waits = 0;           // that it has begun
  Time since{};
  Time spawned{};
  Time deadline = kNever;
  Time cancel_time = kNever;  // kNever: it is not cancelled
  bool listed = true;         // false: only there for the chains of others

  bool cancelled() const { return cancel_time != kNever; }
  // What it waits for, or else its state.
  std::string_view doing() const {
    return reason == WaitReason::kNone ? Name(state) : Name(reason);
  }
};

// Under the lock of the task's registry.
TaskEntry EntryOf(const TaskRecord& task);

// Whether what was cancelled at `cancel_time` should have ended by `now`.
inline bool IsStuck(Time cancel_time, Time now, Duration grace) {
  return cancel_time < (PLANTED(grace_forgotten) ? now : now - grace);
}

struct TaskSnapshot {
  TaskSnapshot() = default;
  TaskSnapshot(const TaskSnapshot&) = default;
  TaskSnapshot(TaskSnapshot&&) = default;
  TaskSnapshot& operator=(const TaskSnapshot&) = default;
  TaskSnapshot& operator=(TaskSnapshot&&) = default;
  ~TaskSnapshot() {
    Breather breather;
    for (; !tasks.empty(); breather.Step()) tasks.pop_back();
  }

  uint64_t registry = 0;         // TaskRegistry::number
  Time taken{};                  // not before any time in it
  std::vector<TaskEntry> tasks;  // in the order of their ids: parents before their children

  // Null: it had ended.
  const TaskEntry* Find(uint64_t id) const {
    const auto found =
        std::lower_bound(tasks.begin(), tasks.end(), id,
                         [](const TaskEntry& entry, uint64_t wanted) { return entry.id < wanted; });
    return found == tasks.end() || found->id != id ? nullptr : &*found;
  }
};

// Blanks for what would break the line.
std::string OneLine(std::string_view text);
// "file.cc:12".
std::string LineText(const std::source_location& site);

}  // namespace nursery::internal

namespace nursery::leak {

// `now`: when the entry was made.
LiveTask LiveTaskOf(const internal::TaskEntry& entry, Time now);

}  // namespace nursery::leak

#endif  // NURSERY_CORE_INTERNAL_SNAPSHOT_H_
