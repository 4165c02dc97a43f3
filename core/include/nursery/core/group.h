// Group: a scope of tasks. Nothing that it spawned outlives it.
//
// WithGroup opens the scope, runs `body` in it and returns when the body and every task that was
// spawned have ended: there is no counter to keep right. What counts as success is the join policy
// (join.h). An exception becomes an INTERNAL error of its task; a body that fails cancels the
// tasks.
//
// Thread safety: Spawn from the body only; TrySpawn, context and Stats from the body and any child.
// Lifetime: the Group& handed to the body is valid until WithGroup returns; whoever may come later
// takes a Spawner (spawner.h).
// Suspends: WithGroup until all have ended; Spawn for a place under the limit. Resumes on: the
// executor. Cancellation: reaches every child through the group's context; the join itself waits
// for them. Order: tasks start in no particular order.
//
//   Async<absl::Status> FetchAll(Context ctx, std::vector<std::string> urls) {
//     GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnAll, std::move(urls));
//     co_return result.status;
//   }
//   Async<absl::Status> SpawnAll(Group& group, std::vector<std::string> urls) {
//     for (const std::string& url : urls) {
//       // Fetch(Context, std::string)
//       absl::Status spawned = co_await group.Spawn("fetch", Fetch, url);
#ifndef NURSERY_CORE_GROUP_H_
#define NURSERY_CORE_GROUP_H_

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <utility>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/group_link.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/task_frame.h"
#include "nursery/core/internal/wait.h"
#include "nursery/core/join.h"
#include "nursery/core/label.h"
#include "nursery/core/mutex.h"
#include "nursery/core/semaphore.h"

namespace nursery {

class TaskObserver;

class Group final : private internal::TaskOwner {
 public:
  class [[nodiscard]] SpawnAwaiter;

  // Starts `function(context, args...)` as a task, where context is the group's; arguments are
  // copied or moved into it. Waits for a place when the group is at its limit. OK when the task has
  // been started. FAILED_PRECONDITION: the body has ended, or the caller is a child, which could
  // wait for ever for a place that it holds itself and uses TrySpawn. The cause's status: the
  // group's context is cancelled. RESOURCE_EXHAUSTED: the executor is at its limit of live tasks
  // (ThreadExecutorOptions::max_tasks), for which nobody waits.
  template <class Function, class... Args>
  SpawnAwaiter Spawn(TaskName name, Function function, Args... args);

  // As Spawn, and the task holds `permit` until it has ended: to acquire before the spawn, so that
  // no more tasks are there than permits. A spawn that is refused gives it back.
  template <class Function, class... Args>
  SpawnAwaiter SpawnWith(Permit permit, TaskName name, Function function, Args... args);

  // As Spawn, but never waits: RESOURCE_EXHAUSTED also when the group is at its limit. A child may
  // spawn siblings while it runs, also when the body has ended; afterwards FAILED_PRECONDITION.
  template <class Function, class... Args>
  absl::Status TrySpawn(TaskName name, Function function, Args... args);

  const Context& context() const { return scope_.context(); }
  GroupStats Stats() const NURSERY_EXCLUDES(mutex_);

 private:
  class EnterAwaiter;
  class JoinAwaiter;
  template <class Body, class... Args>
  friend Async<GroupResult> WithGroup(Context context, GroupOptions options, Body body,
                                      Args... args);
  friend class internal::GroupLink;
  friend class Spawner;

  Group(const Context& parent, GroupOptions options);
  ~Group();

  // As the records of its tasks have it.
  const internal::TaskOwner* AsOwner() const { return this; }
  // A task of this group that is not started yet; who does not start it deletes it.
  template <class Function, class... Args>
  internal::TaskRecord* NewTask(TaskName&& name, Function&& function, Args&&... args);
  void Describe(internal::TaskRecord& task, TaskName&& name);
  // In a place that was taken for it. kCrowded: so many wait that the body should let them run.
  // kNo: the executor has too many tasks; it goes to Refuse.
  enum class Started { kYes, kCrowded, kNo };
  Started Start(internal::TaskRecord* task);
  // RESOURCE_EXHAUSTED. Deletes the task and gives its place back.
  absl::Status Refuse(internal::TaskRecord* task);
  // Starts a task in a place that was taken for it; gives that back when making it throws.
  template <class Function, class... Args>
  absl::Status StartInPlace(TaskName name, Function function, Args... args);
  // OK takes a place, unless the context is cancelled.
  absl::Status TryPlace() NURSERY_EXCLUDES(mutex_);
  std::shared_ptr<internal::GroupLink> Link() NURSERY_EXCLUDES(mutex_);
  // Takes a place. False: nobody has one any more.
  bool AddPlace() {
    uint64_t seen = places_.load(std::memory_order_relaxed);
    do {
      if (PlacesOf(seen) == 0 && !PLANTED(spawned_after_the_join)) return false;
      // Relaxed: what the task sees of its spawner goes through the queue that it is put into.
    } while (!places_.compare_exchange_weak(seen, seen + kTask, std::memory_order_relaxed));
    return true;
  }
  // The same of the body of a plain group, which has one: it takes several at once.
  void AddPlaceOfBody() {
    uint64_t spare = spare_.load(std::memory_order_relaxed);
    if (spare == 0) {
      spare = kSpare;
      places_.fetch_add(kSpare * kTask, std::memory_order_relaxed);
    }
    spare_.store(spare - 1, std::memory_order_release);
  }
  // OK takes a place of a group that is not plain.
  absl::Status TakeCountedPlace() NURSERY_REQUIRES(mutex_);
  // Fires `wait` with a place or, when there will be none, without; else keeps it.
  void EnterPlaceWait(internal::Wait& wait) NURSERY_EXCLUDES(mutex_);
  void LeavePlaceWait() NURSERY_EXCLUDES(mutex_);
  void GivePlace(internal::WakeList& wake) NURSERY_REQUIRES(mutex_);
  // With the last place the joiner may free the group.
  void LeavePlace() NURSERY_EXCLUDES(mutex_);
  // The same of a task of a plain group that has succeeded.
  void LeaveWell() NURSERY_EXCLUDES(mutex_);
  int64_t CountSucceeded() const NURSERY_REQUIRES(mutex_);
  // The same of the body, whose joiner has entered join_wait_.
  void LeaveBody(internal::WakeList& wake) NURSERY_EXCLUDES(mutex_);
  void FireJoin(internal::WakeList& wake) NURSERY_EXCLUDES(mutex_);
  // Undoes what took a place: no task came of it.
  void ReturnPlace() NURSERY_EXCLUDES(mutex_);
  void OnTaskDone(internal::TaskRecord* task) override NURSERY_EXCLUDES(mutex_);
  void CountEnd(const internal::TaskRecord& task) NURSERY_EXCLUDES(mutex_);
  void Close(const absl::Status& body_status) NURSERY_EXCLUDES(mutex_);
  GroupResult TakeResult() NURSERY_EXCLUDES(mutex_);
  void Apply(std::optional<Cause> decision);
  // Tasks that have a place; up to kSpare more while the body of a plain group spawns.
  int64_t running() const {
    const uint64_t spare = spare_.load(std::memory_order_acquire);
    const uint64_t tasks = PlacesOf(places_.load(std::memory_order_acquire)) / kTask;
    return tasks > spare ? static_cast<int64_t>(tasks - spare) : 0;
  }

  static constexpr uint64_t kBody = 1;
  static constexpr uint64_t kTask = 2;
  static constexpr uint64_t kSpare = 16;
  static constexpr uint64_t kSuccess = uint64_t{1} << 32;
  static uint64_t PlacesOf(uint64_t count) { return count % kSuccess; }

  // Constant after construction, but for the owner, which is set before the body runs.
  const CancelScope scope_;
  const int64_t limit_;
  // Without a limit, and its join does not count successes: spawns and good ends take no lock.
  const bool plain_;
  const bool beyond_max_tasks_;
  TaskObserver* const observer_;  // null when nobody looks
  internal::TaskRecord* owner_ = nullptr;

  // Who has a place: kTask for each task, kBody until the body waits for them. Whoever takes it to
  // 0 lets the joiner go. Of a group that is not plain it is raised under the lock. Above that, of
  // a plain group: kSuccess for each task that has succeeded, of which the join does not know.
  std::atomic<uint64_t> places_{kBody};
  std::atomic<uint64_t> spare_{0};  // places that the body has taken for its next tasks

  mutable Mutex mutex_;
  int64_t succeeded_ NURSERY_GUARDED_BY(mutex_) = 0;  // taken out of places_, once they are many
  std::shared_ptr<internal::GroupLink> link_ NURSERY_GUARDED_BY(mutex_);  // once asked for
  internal::JoinState join_ NURSERY_GUARDED_BY(mutex_);
  bool closed_ NURSERY_GUARDED_BY(mutex_) = false;
  int64_t uncounted_ NURSERY_GUARDED_BY(mutex_) = 0;  // not plain: places whose end is not counted
  internal::Wait* place_wait_ NURSERY_GUARDED_BY(mutex_) = nullptr;
  internal::Wait* join_wait_ NURSERY_GUARDED_BY(mutex_) = nullptr;
};

// `body(group, args...)` gives an Async<absl::Status>. INVALID_ARGUMENT, and no body, when the
// options make no sense.
template <class Body, class... Args>
Async<GroupResult> WithGroup(Context context, GroupOptions options, Body body, Args... args);

}  // namespace nursery

#include "nursery/core/internal/group_inl.h"

#endif  // NURSERY_CORE_GROUP_H_
