#include "nursery/testing/seeded_executor.h"

#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/internal/task_frame.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::kAsleep;
using internal::TaskRecord;
using internal::WakeList;

namespace {

class Owner final : public internal::TaskOwner {
 public:
  void OnTaskDone(TaskRecord* task) override { result_ = std::move(task->result); }
  const std::optional<absl::Status>& result() const { return result_; }

 private:
  std::optional<absl::Status> result_;
};

}  // namespace

void ManualClock::Set(Time now) {
  NURSERY_CHECK(now >= Now()) << "steady time does not go back";
  now_.store(now, std::memory_order_relaxed);  // as Now
}

absl::Status SeededExecutor::Run(std::string name, Executor::Root root, std::source_location site) {
  Owner owner;
  CancelScope scope(Context::Background(*this));
  internal::TaskFrame<Executor::Root> task(std::move(root));
  task.name = name;
  task.spawn_site = site;
  task.executor = this;
  task.context = &scope.context().node();
  task.owner = &owner;
  task.context->HoldUp();
  registry().AddBeyondLimit(&task);
  Schedule(&task);
  std::optional<absl::Status> deadlock;
  while (!owner.result()) {
    if (runnable_.empty() && !WakeSomething()) {
      NURSERY_CHECK(!deadlock) << kAsleep << ", and cancelling does not wake them\n" << Dump();
      deadlock =
          Error(absl::StatusCode::kAborted, internal::DescribeSleepers({registry().Snapshot()}));
      scope.Cancel(kAsleep);
      continue;
    }
    if (!runnable_.empty()) RunOne();
  }
  registry().Remove(&task);
  task.context->LetDown();
  return deadlock ? *deadlock : *owner.result();
}

bool SeededExecutor::WakeSomething() {
  if (poller().waiters() > 0) {
    // With a timer armed, a descriptor gets a moment of real time before virtual time jumps.
    const bool timed = timers().Next() != kNever;
    WakeList wake;
    poller().Poll(timed ? std::chrono::milliseconds(2) : Duration(std::chrono::seconds(30)), wake);
    internal::Schedule(wake);
    if (!runnable_.empty()) return true;
  }
  if (timers().Next() == kNever) return false;
  AdvanceToNextTimer();
  return true;
}

void SeededExecutor::AdvanceToNextTimer() {
  const Time next = timers().Next();
  if (next == kNever) return;
  if (next > manual_clock.Now()) manual_clock.Set(next);
  ExpireTimers(manual_clock.Now());
}

void SeededExecutor::RunOne() {
  if (slow_ && Random(8) == 0) AdvanceToNextTimer();
  const size_t pick = Random(runnable_.size());
  schedule_ = (schedule_ ^ (pick + 1)) * 0x9e3779b97f4a7c15 + runnable_.size();
  ++slices_;
  TaskRecord* task = runnable_[pick];
  runnable_.erase(runnable_.begin() + static_cast<std::ptrdiff_t>(pick));
  TaskRecord::RunSlice(task);
}

void SeededExecutor::Schedule(WakeList& tasks) {
  while (TaskRecord* task = tasks.Pop()) Schedule(task);
}

bool SeededExecutor::Schedule(TaskRecord* task) {
  task->Enter(TaskState::kRunnable, WaitReason::kNone, nullptr);
  runnable_.push_back(task);
  return false;
}

bool IsDeadlock(const absl::Status& status) {
  return absl::IsAborted(status) && Message(status).starts_with(kAsleep);
}

}  // namespace nursery
