#include "nursery/core/group.h"

#include <memory>

#include "nursery/core/executor.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"
#include "nursery/core/task_observer.h"

namespace nursery {

using internal::TaskRecord;
using internal::WakeList;

namespace {

// What SpawnAwaiter is fired with.
constexpr uint32_t kNoPlace = 0;
constexpr uint32_t kPlaceTaken = 1;

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
      observer_(internal::ObserverOf(parent)),
      join_(options.join) {}

Group::~Group() {
  std::shared_ptr<internal::GroupLink> link;
  {
    MutexLock lock(mutex_);
    NURSERY_CHECK(running_ == 0) << running_ << " tasks outlive their scope";
    link = std::move(link_);
  }
  // A Spawner that came before finds the group closed; the lock of the link waits for it.
  if (link != nullptr) link->Cut();
}

TaskRecord* Group::NewTask(TaskName name, internal::TaskFrame frame) {
  auto task = std::make_unique<TaskRecord>();
  task->name = std::move(name.text);
  task->spawn_site = name.site;
  if (owner_ != nullptr) {
    task->parent_id = owner_->id;
    task->root_id = PLANTED(root_taken_for_parent) ? owner_->id : owner_->root_id;
  }
  task->executor = &context().executor();
  task->context = &context().node();
  task->context->Ref();
  task->owner = this;
  frame.BindTo(*task);
  return task.release();
}

void Group::Discard(TaskRecord* task) {
  task->frame.destroy();
  task->context->Unref();
  delete task;
}

void Group::Start(TaskRecord* task) {
  task->executor->registry().Add(task);
  if (observer_ != nullptr) observer_->OnStart(InfoOf(*task));
  task->executor->Schedule(task);
}

void Group::AddPlace() {
  ++running_;
  ++uncounted_;
  ++spawned_;
}

absl::Status Group::TakePlace() {
  if (closed_ && running_ == 0 && !PLANTED(spawned_after_the_join)) return ClosedStatus();
  const int64_t places = limit_ + (PLANTED(limit_off_by_one) ? 1 : 0);
  if (limit_ != 0 && running_ >= places) {
    return Error(absl::StatusCode::kResourceExhausted,
                 "the group is at its limit of " + std::to_string(limit_) + " tasks");
  }
  AddPlace();
  return absl::OkStatus();
}

absl::Status Group::TryPlace() {
  NURSERY_RETURN_IF_ERROR(context().status());
  MutexLock lock(mutex_);
  return TakePlace();
}

absl::Status Group::TryStart(TaskRecord* task) {
  absl::Status status = TryPlace();
  if (status.ok()) {
    Start(task);
  } else {
    Discard(task);
  }
  return status;
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
  absl::Status taken = TakePlace();
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
  if (place_wait_ == nullptr || running_ >= limit_) return;
  const bool taken = std::exchange(place_wait_, nullptr)->Fire(kPlaceTaken, wake);
  if (taken || PLANTED(place_kept_by_cancelled_spawn)) AddPlace();
}

absl::Status Group::SpawnAwaiter::await_resume() {
  if (!by_owner_) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "Spawn waits for a place and belongs to the group's body; a child uses TrySpawn");
  }
  if (wait_.Finish()) {
    group_.LeavePlaceWait();
    return group_.context().status();
  }
  if (wait_.index() == kNoPlace) return ClosedStatus();
  group_.Start(std::exchange(task_, nullptr));
  return absl::OkStatus();
}

void Group::OnTaskDone(TaskRecord* task) {
  const std::unique_ptr<TaskRecord> record(task);
  if (observer_ != nullptr && !(PLANTED(failure_not_observed) && !task->result.ok())) {
    const Time now = task->executor->clock().CoarseNow();
    observer_->OnEnd(InfoOf(*task), now - task->spawned, task->result);
  }
  task->executor->registry().Remove(task);
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    --uncounted_;
    decision = join_.OnTaskEnded(task->name, task->result);
    if (!decision && closed_) decision = join_.OnRemaining(uncounted_);
  }
  Apply(std::move(decision));
  LeavePlace();
  record->context->Unref();
}

void Group::LeavePlace() {
  WakeList wake;
  {
    MutexLock lock(mutex_);
    --running_;
    GivePlace(wake);
    if (running_ == 0 && join_wait_ != nullptr) std::exchange(join_wait_, nullptr)->Fire(0, wake);
  }
  internal::Schedule(wake);
}

void Group::ReturnPlace() {
  std::optional<Cause> decision;
  {
    MutexLock lock(mutex_);
    --uncounted_;
    --spawned_;
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

GroupStats Group::Stats() const {
  MutexLock lock(mutex_);
  const GroupResult& result = join_.result();
  GroupStats stats;
  stats.running = running_;
  stats.spawned = spawned_;
  stats.succeeded = result.succeeded;
  stats.failed = result.error_count;
  return stats;
}

}  // namespace nursery
