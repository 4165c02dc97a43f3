#include "nursery/core/group.h"

#include <algorithm>
#include <memory>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"
#include "nursery/core/task_observer.h"

namespace nursery {

using internal::kKeepsRecords;
using internal::TaskRecord;
using internal::WakeList;

namespace {

// What SpawnAwaiter is fired with.
constexpr uint32_t kNoPlace = 0;
constexpr uint32_t kPlaceTaken = 1;
// So many successes of a plain group are counted apart, before there are too many for places_.
constexpr uint64_t kManySuccesses = uint64_t{1} << 31;

absl::Status ClosedStatus() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "the group takes no more tasks: its body and all its tasks have ended");
}

TaskInfo InfoOf(const TaskRecord& task) {
  TaskInfo info;
  info.id = task.id;
  info.parent_id = task.parent_id;
  info.name = task.name;
  info.spawn_site = task.spawn_site;
  return info;
}

}  // namespace

Group::Group(const Context& parent, GroupOptions options)
    : scope_(parent),
      limit_(options.limit),
      plain_(options.limit == 0 && !options.join.wants_success()),
      beyond_max_tasks_(options.beyond_max_tasks),
      observer_(internal::ObserverOf(parent)),
      join_(options.join) {
  context().node().HoldUp();
}

Group::~Group() {
  std::shared_ptr<internal::GroupLink> link;
  {
    MutexLock lock(mutex_);
    NURSERY_CHECK(running() == 0) << running() << " tasks outlive their scope";
    link = std::move(link_);
  }
  // A Spawner that came before finds the group closed; the lock of the link waits for it.
  if (link != nullptr) link->Cut();
  context().node().LetDown();
}

void Group::Describe(TaskRecord& task, TaskName&& name) {
  if (kKeepsRecords) {
    task.name = std::move(name.text);
    task.spawn_site = name.site;
  }
  if (kKeepsRecords && owner_ != nullptr) {
    task.parent_id = owner_->id;
    task.root_id = PLANTED(root_taken_for_parent) ? owner_->id : owner_->root_id;
  }
  task.executor = &context().node().executor();
  task.context = &context().node();
  task.owner = this;
}

Group::Started Group::Start(TaskRecord* task) {
  internal::TaskRegistry& registry = task->executor->registry();
  if (beyond_max_tasks_) {
    registry.AddBeyondLimit(task);
  } else if (!registry.Add(task)) {
    return Started::kNo;
  }
  if (observer_ != nullptr) observer_->OnStart(InfoOf(*task));
  return task->executor->Schedule(task) ? Started::kCrowded : Started::kYes;
}

absl::Status Group::Refuse(TaskRecord* task) {
  absl::Status full = task->executor->registry().FullStatus();
  delete task;
  // Last: the group may be gone then.
  if (!PLANTED(refused_task_keeps_its_place)) ReturnPlace();
  return full;
}

absl::Status Group::TakeCountedPlace() {
  const int64_t places = limit_ + (PLANTED(limit_off_by_one) ? 1 : 0);
  if (limit_ != 0 && running() >= places) {
    return Error(absl::StatusCode::kResourceExhausted,
                 "the group is at its limit of " + std::to_string(limit_) + " tasks");
  }
  if (!AddPlace()) return ClosedStatus();
  ++uncounted_;
  return absl::OkStatus();
}

absl::Status Group::TryPlace() {
  if (context().cancelled()) return context().status();
  if (plain_) return AddPlace() ? absl::OkStatus() : ClosedStatus();
  MutexLock lock(mutex_);
  return TakeCountedPlace();
}

std::shared_ptr<internal::GroupLink> Group::Link() {
  MutexLock lock(mutex_);
  if (link_ == nullptr) link_ = std::make_shared<internal::GroupLink>(*this);
  return link_;
}

absl::StatusOr<Group*> internal::GroupLink::TakePlace() {
  MutexLock lock(mutex_);
  if (group_ == nullptr) return ClosedStatus();
  NURSERY_RETURN_IF_ERROR(group_->TryPlace());
  return group_;
}

void internal::GroupLink::Cut() {
  MutexLock lock(mutex_);
  group_ = nullptr;
}

void Group::EnterPlaceWait(internal::Wait& wait) {
  WakeList none;  // a wait that is still arming is never scheduled
  MutexLock lock(mutex_);
  absl::Status taken = TakeCountedPlace();
  if (taken.ok()) {
    wait.Fire(kPlaceTaken, none);
  } else if (absl::IsResourceExhausted(taken)) {
    place_wait_ = &wait;
  } else {
    wait.Fire(kNoPlace, none);
  }
}

void Group::LeavePlaceWait() {
  MutexLock lock(mutex_);
  place_wait_ = nullptr;
}

void Group::GivePlace(WakeList& wake) {
  if (place_wait_ == nullptr || running() >= limit_) return;
  const bool taken = std::exchange(place_wait_, nullptr)->Fire(kPlaceTaken, wake);
  if (!taken && !PLANTED(place_kept_by_cancelled_spawn)) return;
  // The body waits here, so it has a place.
  places_.fetch_add(kTask, std::memory_order_relaxed);
  ++uncounted_;
}

bool Group::SpawnAwaiter::StartNow() {
  if (wait_->Finish() || wait_->index() == kNoPlace) return false;
  return StartTask();
}

absl::Status Group::SpawnAwaiter::EndWait() {
  if (!by_owner_) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "Spawn waits for a place and belongs to the group's body; a child uses TrySpawn");
  }
  if (refused_) return group_.Refuse(std::exchange(task_, nullptr));
  // A plain group has refused it.
  if (!wait_) return group_.context().cancelled() ? group_.context().status() : ClosedStatus();
  if (wait_->Finish()) {
    group_.LeavePlaceWait();
    return group_.context().status();
  }
  if (wait_->index() == kNoPlace) return ClosedStatus();
  StartTask();
  return refused_ ? group_.Refuse(std::exchange(task_, nullptr)) : absl::OkStatus();
}

void Group::OnTaskDone(TaskRecord* task) {
  const std::unique_ptr<TaskRecord> record(task);
  if (observer_ != nullptr && !(PLANTED(failure_not_observed) && !task->result.ok())) {
    const Time now = task->executor->clock().RecordNow();
    const Duration took = std::max(now - task->spawned, Duration::zero());
    observer_->OnEnd(InfoOf(*task), took, task->result);
  }
  task->executor->registry().Remove(task);
  if (plain_ && task->result.ok()) {
    LeaveWell();
  } else {
    CountEnd(*task);
    LeavePlace();
  }
}

void Group::CountEnd(const TaskRecord& task) {
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    if (!plain_) --uncounted_;
    decision =
        join_.OnTaskEnded(task.name, task.result, [this] { return scope_.context().status(); });
    if (!decision && closed_) decision = join_.OnRemaining(uncounted_);
  }
  Apply(std::move(decision));
}

void Group::LeavePlace() {
  WakeList wake;
  bool last = false;
  if (plain_) {
    // Whoever leaves last sees what the others have done.
    last = PlacesOf(places_.fetch_sub(kTask, std::memory_order_acq_rel)) == kTask;
  } else {
    MutexLock lock(mutex_);
    last = PlacesOf(places_.fetch_sub(kTask, std::memory_order_acq_rel)) == kTask;
    GivePlace(wake);
  }
  if (last) FireJoin(wake);
  internal::Schedule(wake);
}

void Group::LeaveWell() {
  if (places_.load(std::memory_order_relaxed) >= kManySuccesses * kSuccess) {
    MutexLock lock(mutex_);
    const uint64_t many = places_.load(std::memory_order_relaxed) / kSuccess;
    places_.fetch_sub(many * kSuccess, std::memory_order_relaxed);
    succeeded_ += static_cast<int64_t>(many);
  }
  // As in LeavePlace.
  const uint64_t before = places_.fetch_add(kSuccess - kTask, std::memory_order_acq_rel);
  if (PlacesOf(before) != kTask) return;
  WakeList wake;
  FireJoin(wake);
  internal::Schedule(wake);
}

int64_t Group::CountSucceeded() const {
  return succeeded_ + static_cast<int64_t>(places_.load(std::memory_order_relaxed) / kSuccess);
}

void Group::LeaveBody(WakeList& wake) {
  const uint64_t mine = kBody + kTask * spare_.exchange(0, std::memory_order_relaxed);
  const bool last = PlacesOf(places_.fetch_sub(mine, std::memory_order_acq_rel)) == mine;
  if (last || PLANTED(join_before_the_end)) FireJoin(wake);
}

void Group::FireJoin(WakeList& wake) {
  MutexLock lock(mutex_);
  if (join_wait_ != nullptr) std::exchange(join_wait_, nullptr)->Fire(0, wake);
}

void Group::ReturnPlace() {
  std::optional<Cause> decision;
  if (!plain_) {
    MutexLock lock(mutex_);
    --uncounted_;
    if (closed_) decision = join_.OnRemaining(uncounted_);
  }
  Apply(std::move(decision));
  LeavePlace();
}

void Group::Close(const absl::Status& body_status) {
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    decision = join_.OnBodyEnded(body_status);
    if (!decision) decision = join_.OnRemaining(uncounted_);
  }
  Apply(std::move(decision));
}

void Group::Apply(std::optional<Cause> decision) {
  if (!decision || PLANTED(fail_fast_forgotten)) return;
  decision->actor = owner_->name;
  scope_.Cancel(std::move(*decision));
}

GroupResult Group::TakeResult() {
  MutexLock lock(mutex_);
  GroupResult result = join_.TakeResult();
  result.succeeded += CountSucceeded();
  return result;
}

GroupStats Group::Stats() const {
  MutexLock lock(mutex_);
  const GroupResult& result = join_.result();
  GroupStats stats;
  stats.succeeded = result.succeeded + CountSucceeded();
  stats.failed = result.error_count;
  stats.running = running();
  stats.spawned = stats.running + stats.succeeded + stats.failed + result.cancelled;
  return stats;
}

}  // namespace nursery
