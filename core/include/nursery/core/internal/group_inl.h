// The awaitables and templates of group.h.
#ifndef NURSERY_CORE_INTERNAL_GROUP_INL_H_
#define NURSERY_CORE_INTERNAL_GROUP_INL_H_

#include <optional>

#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/planted.h"

namespace nursery {

namespace internal {

// A task's function and what it holds; both live in the task's frame, until its end.
template <class Function>
class HoldingPermit {
 public:
  HoldingPermit(Permit permit, Function function)
      : permit_(std::move(permit)), function_(std::move(function)) {}
  template <class... Args>
  auto operator()(Context context, Args... args) && {
    if (PLANTED(permit_not_held)) permit_.Release();
    permit_.PassToThisTask();
    return std::invoke(std::move(function_), std::move(context), std::move(args)...);
  }

 private:
  Permit permit_;
  Function function_;
};

}  // namespace internal

class [[nodiscard]] Group::SpawnAwaiter {
 public:
  SpawnAwaiter(Group& group, internal::TaskRecord* task) : group_(group), task_(task) {}
  SpawnAwaiter(const SpawnAwaiter&) = delete;
  SpawnAwaiter& operator=(const SpawnAwaiter&) = delete;
  ~SpawnAwaiter() { delete task_; }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    by_owner_ = handle.promise().task == group_.owner_;
    if (!by_owner_) return false;
    if (group_.plain_) {
      if (group_.context().cancelled()) return false;
      group_.AddPlaceOfBody();
      return StartTask() && LetOthersRun(handle);
    }
    wait_.emplace();
    const bool waits = wait_->Suspend(handle, &group_.context().node(), WaitReason::kGroupLimit,
                                      group_.AsOwner(), [this] { group_.EnterPlaceWait(*wait_); });
    return waits || (StartNow() && LetOthersRun(handle));
  }
  absl::Status await_resume() { return task_ == nullptr ? absl::OkStatus() : EndWait(); }

 private:
  // A body that spawns faster than its tasks run lets them run: they stay few, and their memory
  // warm.
  template <class Promise>
  static bool LetOthersRun(std::coroutine_handle<Promise> handle) {
    internal::TaskRecord* const self = handle.promise().task;
    self->resume_point = handle;
    self->executor->Schedule(self);
    return true;
  }
  // In a place that was taken for it. True: so many wait that they should run first.
  bool StartTask() {
    const Started started = group_.Start(task_);
    refused_ = started == Started::kNo;
    if (!refused_) task_ = nullptr;
    return started == Started::kCrowded;
  }
  // The same in the place that was free, if there was one.
  bool StartNow();
  absl::Status EndWait();

  Group& group_;
  internal::TaskRecord* task_;
  bool by_owner_ = false;
  bool refused_ = false;                     // by the executor
  std::optional<internal::PlainWait> wait_;  // of others, for a place
};

// Notes which task runs the body.
class Group::EnterAwaiter {
 public:
  explicit EnterAwaiter(Group& group) : group_(group) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    group_.owner_ = handle.promise().task;
    return false;
  }
  void await_resume() const noexcept {}

 private:
  Group& group_;
};

// Waits until no task is left. Nothing cuts it short: the tasks refer to the scope.
class Group::JoinAwaiter {
 public:
  explicit JoinAwaiter(Group& group) : group_(group) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    return wait_.Suspend(handle, nullptr, WaitReason::kGroupJoin, group_.AsOwner(), [this] {
      {
        MutexLock lock(group_.mutex_);
        group_.join_wait_ = &wait_;
      }
      internal::WakeList none;  // a wait that is still arming is never scheduled
      group_.LeaveBody(none);
    });
  }
  GroupResult await_resume() {
    wait_.Finish();
    return group_.TakeResult();
  }

 private:
  Group& group_;
  internal::PlainWait wait_;
};

template <class Function, class... Args>
internal::TaskRecord* Group::NewTask(TaskName&& name, Function&& function, Args&&... args) {
  auto* const task = new internal::TaskFrame<Function, Args...>(std::forward<Function>(function),
                                                                std::forward<Args>(args)...);
  Describe(*task, std::move(name));
  return task;
}

template <class Function, class... Args>
Group::SpawnAwaiter Group::Spawn(TaskName name, Function function, Args... args) {
  return SpawnAwaiter(*this, NewTask(std::move(name), std::move(function), std::move(args)...));
}

template <class Function, class... Args>
Group::SpawnAwaiter Group::SpawnWith(Permit permit, TaskName name, Function function,
                                     Args... args) {
  return Spawn(std::move(name),
               internal::HoldingPermit<Function>(std::move(permit), std::move(function)),
               std::move(args)...);
}

template <class Function, class... Args>
absl::Status Group::TrySpawn(TaskName name, Function function, Args... args) {
  internal::TaskRecord* const task =
      NewTask(std::move(name), std::move(function), std::move(args)...);
  absl::Status placed = TryPlace();
  if (!placed.ok()) {
    delete task;
    return placed;
  }
  return Start(task) == Started::kNo ? Refuse(task) : absl::OkStatus();
}

template <class Function, class... Args>
absl::Status Group::StartInPlace(TaskName name, Function function, Args... args) {
  try {
    internal::TaskRecord* const task =
        NewTask(std::move(name), std::move(function), std::move(args)...);
    return Start(task) == Started::kNo ? Refuse(task) : absl::OkStatus();
  } catch (...) {
    const absl::Status status = internal::StatusOfException(std::current_exception());
    ReturnPlace();
    return status;
  }
}

template <class Body, class... Args>
Async<GroupResult> WithGroup(Context context, GroupOptions options, Body body, Args... args) {
  GroupResult result;
  result.status = internal::Validate(options);
  if (!result.status.ok()) co_return result;
  Group group(context, options);
  co_await Group::EnterAwaiter(group);
  absl::Status status;
  try {
    status = co_await std::invoke(std::move(body), group, std::move(args)...);
  } catch (...) {
    status = internal::StatusOfException(std::current_exception());
  }
  group.Close(status);
  result = co_await Group::JoinAwaiter(group);
  co_return result;
}

}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_GROUP_INL_H_
