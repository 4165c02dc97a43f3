#include "nursery/core/task.h"

#include <iterator>
#include <utility>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/thread_variable.h"

namespace nursery {

std::string_view Name(TaskState state) {
  static constexpr std::string_view kNames[] = {"runnable", "running", "waiting", "blocking"};
  static_assert(std::size(kNames) == kTaskStateCount);
  return kNames[static_cast<int>(state)];
}

std::string_view Name(WaitReason reason) {
  static constexpr std::string_view kNames[] = {"none",         "channel send", "channel receive",
                                                "select",       "semaphore",    "group limit",
                                                "group join",   "timer",        "io",
                                                "context done", "blocking"};
  static_assert(std::size(kNames) == kWaitReasonCount);
  return kNames[static_cast<int>(reason)];
}

namespace internal {
namespace {

NURSERY_THREAD_VARIABLE TaskRecord* current_task = nullptr;
// Has ended in the slice that just ends.
NURSERY_THREAD_VARIABLE TaskRecord* ended_task = nullptr;

}  // namespace

TaskRecord* CurrentTask() { return current_task; }

TaskKey KeyOf(const TaskRecord& task) { return {task.executor->registry().number(), task.id}; }

TaskKey CurrentKey() {
  const TaskRecord* const task = current_task;
  return task == nullptr ? TaskKey() : KeyOf(*task);
}

void EndsNow(TaskRecord* task) noexcept { ended_task = task; }

bool CountByTask(const ContextNode& node, int64_t references) {
  TaskRecord* const task = current_task;
  if (task == nullptr || task->context != &node) return false;
  task->context_refs += references;
  return true;
}

TaskKey StartingTask() {
  const TaskRecord* const task = CurrentTask();
  return task != nullptr && task->starting ? KeyOf(*task) : TaskKey();
}

void TaskRecord::Enter(TaskState new_state, WaitReason new_reason, const void* new_object) {
  if (kKeepsRecords) {
    if (new_state == TaskState::kWaiting) {
      waits.store(waits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    since.store(executor->clock().RecordNow(), std::memory_order_relaxed);
    object.store(new_object, std::memory_order_relaxed);
  }
  // Release: whoever sees that the task waits, and finds the count of its waits as it was, has
  // missed nothing.
  state.store({new_state, new_reason}, std::memory_order_release);
}

void TaskRecord::RunSlice(TaskRecord* task) {
  // It runs already when it has yielded to nobody.
  if (!(task->state.load(std::memory_order_relaxed) == TaskState::kRunning)) {
    task->Enter(TaskState::kRunning, WaitReason::kNone, nullptr);
  }
  // Tasks nest where a seeded executor runs in a task of another.
  TaskRecord* const outer = std::exchange(current_task, task);
  if (task->frame == nullptr) task->Begin();
  if (ended_task == nullptr) task->resume_point.resume();  // else it could not even begin
  // From here on `task` may already run on another thread, unless it has ended.
  TaskRecord* const ended = std::exchange(ended_task, nullptr);
  if (ended != nullptr) {
    // The arguments go first: the owner may free what they refer to as soon as it knows.
    ended->End();
    if (ended->context_refs != 0) ended->context->Settle(ended->context_refs);
  }
  current_task = outer;
  if (ended != nullptr) ended->owner->OnTaskDone(ended);
}

void TaskRecord::TimeFromNow() {
  if (!kKeepsRecords) return;
  timed = true;
  since.store(Clock::Steady().Now(), std::memory_order_relaxed);
}

int64_t WakeList::EnterRunnable(uint32_t turn) {
  if (empty()) return 0;
  const Time now = kKeepsRecords ? first_->executor->clock().RecordNow() : Time();
  int64_t count = 0;
  for (TaskRecord* task = first_; task != nullptr; task = task->next_woken) {
    task->since.store(now, std::memory_order_relaxed);
    task->object.store(nullptr, std::memory_order_relaxed);
    task->state.store(Doing(), std::memory_order_relaxed);
    task->MayBeTimed(turn++);
    ++count;
  }
  return count;
}

void ScheduleAll(WakeList& tasks) {
  if (!tasks.mixed()) {
    tasks.front()->executor->Schedule(tasks);
    return;
  }
  while (!tasks.empty()) {
    Executor* const executor = tasks.front()->executor;
    WakeList alike;
    while (!tasks.empty() && tasks.front()->executor == executor) alike.Push(tasks.Pop());
    executor->Schedule(alike);
  }
}

}  // namespace internal
}  // namespace nursery
