// TaskRecord: what is known of a live task, always on, as of a goroutine in a goroutine profile.
//
// Every coroutine that a Group spawned has one, from spawn until its end; so has the root of
// Executor::Run. Users read records through Executor::Dump and Executor::Stats, never directly.
//
// Thread safety: the atomics are written relaxed by the task or by whoever wakes it and may be read
// at any time; a reader sees each of them whole, not all of one instant. State and reason are one.
#ifndef NURSERY_CORE_TASK_H_
#define NURSERY_CORE_TASK_H_

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <source_location>
#include <string_view>

#include "absl/status/status.h"
#include "nursery/core/clock.h"
#include "nursery/core/internal/frame_pool.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/label.h"

namespace nursery {

class Executor;

enum class TaskState : uint8_t { kRunnable, kRunning, kWaiting, kBlocking };
inline constexpr int kTaskStateCount = 4;

enum class WaitReason : uint8_t {
  kNone,
  kChannelSend,
  kChannelReceive,
  kSelect,
  kSemaphore,
  kGroupLimit,
  kGroupJoin,
  kTimer,
  kIo,
  kContextDone,
  kBlocking,
};
inline constexpr int kWaitReasonCount = 11;

// What a task does: read and written as one.
struct Doing {
  TaskState state = TaskState::kRunnable;
  WaitReason reason = WaitReason::kNone;

  bool operator==(TaskState other) const { return state == other; }
};
static_assert(std::atomic<Doing>::is_always_lock_free);

// A task that lives so long after its cancellation counts as stuck in TaskStats and metrics.
inline constexpr Duration kStuckGrace = std::chrono::minutes(1);

// "runnable", "channel receive", ...: the words of dumps and of metric labels.
std::string_view Name(TaskState state);
std::string_view Name(WaitReason reason);

namespace internal {

// False only in a benchmark, which shows what the records cost.
#ifdef NURSERY_WITHOUT_RECORDS
inline constexpr bool kKeepsRecords = false;
#else
inline constexpr bool kKeepsRecords = true;
#endif

class ContextNode;
struct TaskRecord;

// Names a task in the process; what it names may have ended. Empty: no task.
struct TaskKey {
  uint64_t registry = 0;  // TaskRegistry::number
  uint64_t id = 0;

  explicit operator bool() const { return id != 0; }
  bool operator==(const TaskKey&) const = default;
};

// Told exactly once that a task ended, after its frame and arguments are gone.
class TaskOwner {
 public:
  virtual void OnTaskDone(TaskRecord* task) = 0;

 protected:
  ~TaskOwner() = default;
};

struct TaskRecord : ListNode<>, Pooled {
  virtual ~TaskRecord() = default;
  // Calls the function, which makes the outermost coroutine; or EndsNow.
  virtual void Begin() {}
  // After EndsNow: takes the result. What the task was called with goes.
  virtual void End() {}

  // Constant after construction.
  uint64_t id = 0;
  uint64_t parent_id = 0;
  uint64_t root_id = 0;
  Label name;
  std::source_location spawn_site;
  Time spawned{};
  Executor* executor = nullptr;
  ContextNode* context = nullptr;  // the owner's, which outlives the task
  TaskOwner* owner = nullptr;
  std::coroutine_handle<> frame;  // the outermost coroutine; null before its first slice
  uint32_t shard = 0;             // of the registry

  // Relaxed: read by dumps at any time.
  std::atomic<uint32_t> waits{0};  // that it has begun
  std::atomic<Doing> state{Doing()};
  // Not read by dumps, and here because there is room.
  bool timed = false;        // how long it waits for a thread, and keeps it
  bool starting = true;      // its function has not been called yet; read by itself alone
  int64_t context_refs = 0;  // of itself; see CountByTask
  // Relaxed.
  std::atomic<const void*> object{nullptr};
  std::atomic<std::source_location> line{std::source_location()};
  std::atomic<Time> since{Time()};

  // Owned by whoever runs or holds the task: one at a time.
  std::coroutine_handle<> resume_point;
  TaskRecord* next_woken = nullptr;
  absl::Status result;

  void Enter(TaskState new_state, WaitReason new_reason, const void* new_object);
  // It has become runnable: one in so many is timed from now on. `turn` grows with what the caller
  // makes runnable, or runs. A prime, so that tasks that take turns are timed in turn.
  static constexpr uint32_t kTimedInterval = 61;
  void MayBeTimed(uint32_t turn) {
    if (turn % kTimedInterval == kTimedInterval - 1) TimeFromNow();
  }
  void TimeFromNow();

  // Runs the task until it suspends or ends; when it ended, lets it End and tells its owner.
  // Nothing of the task may be touched afterwards.
  static void RunSlice(TaskRecord* task);
};

// The task that runs on this thread; null: none does. Never inlined into a coroutine, which may
// change its thread.
[[gnu::noinline]] TaskRecord* CurrentTask();
TaskKey KeyOf(const TaskRecord& task);
// Of CurrentTask.
[[gnu::noinline]] TaskKey CurrentKey();
// Tells RunSlice that the task has come to its end.
[[gnu::noinline]] void EndsNow(TaskRecord* task) noexcept;
// Counts what a task takes and gives of references to its own context, without an atomic operation:
// most of them are of that kind. They are settled when it ends. False: `node` is another one.
[[gnu::noinline]] bool CountByTask(const ContextNode& node, int64_t references);
// The task whose arguments are being moved into its function, on this thread.
TaskKey StartingTask();

// Tasks to make runnable, in order; collected under locks, scheduled outside them.
class WakeList {
 public:
  WakeList() = default;
  WakeList(const WakeList&) = delete;
  WakeList& operator=(const WakeList&) = delete;
  ~WakeList() { NURSERY_CHECK(empty()) << "woken tasks were not scheduled"; }

  bool empty() const { return first_ == nullptr; }
  // Of more than one executor.
  bool mixed() const { return mixed_; }
  void Push(TaskRecord* task) {
    task->next_woken = nullptr;
    if (empty()) {
      first_ = task;
    } else {
      mixed_ |= last_->executor != task->executor;
      last_->next_woken = task;
    }
    last_ = task;
  }
  // Takes over all of `others`, which are of the same executor, behind its own.
  void Append(WakeList& others) {
    if (others.empty()) return;
    (empty() ? first_ : last_->next_woken) = others.first_;
    last_ = others.last_;
    others.first_ = nullptr;
  }
  // Marks all as runnable, at the time of this call; how many there are. `turn` as of MayBeTimed.
  int64_t EnterRunnable(uint32_t turn);
  TaskRecord* front() const { return first_; }
  TaskRecord* Pop() {
    TaskRecord* task = first_;
    if (task != nullptr) first_ = task->next_woken;
    return task;
  }

 private:
  TaskRecord* first_ = nullptr;
  TaskRecord* last_ = nullptr;
  bool mixed_ = false;
};

void ScheduleAll(WakeList& tasks);
// Makes the tasks runnable, each on its executor. Call it outside of locks.
inline void Schedule(WakeList& tasks) {
  if (!tasks.empty()) ScheduleAll(tasks);
}

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_TASK_H_
