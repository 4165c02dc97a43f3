// Scheduler: worker threads that run tasks, each from a queue of its own, from a shared one, and
// from what it steals from the others.
//
// Invariants:
//  1. A worker that found nothing enters itself among the idle ones, then looks once more; whoever
//     makes a task runnable puts it into a queue, then looks for an idle worker. Sequentially
//     consistent, both: one of the two sees the other, and no task lies in a queue while all sleep.
//  2. At most one worker is woken at a time: one that searches wakes the next when it finds work.
//     So a burst costs few wake-ups, and still gets every worker.
//  3. A task that its waker will run next (RunQueue::PushNext) wakes nobody, nor do the few that a
//     guest keeps for itself: who left them will soon wait itself. In case that it does not, one
//     idle worker looks from time to time, as long as anything runs, and takes what lies there.
//
// The design follows those of Go and tokio: a queue per worker with half of it stolen at once, a
// bounded number of searchers, a look at the shared queue every 61st time.
//
// Thread safety: any thread. Lifetime: outlives every task; Stop before it dies.
#ifndef NURSERY_CORE_INTERNAL_SCHEDULER_H_
#define NURSERY_CORE_INTERNAL_SCHEDULER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "nursery/core/internal/run_queue.h"
#include "nursery/core/mutex.h"
#include "nursery/core/scheduler_stats.h"
#include "nursery/core/task.h"

namespace nursery::internal {

struct Worker;
class TaskRegistry;

class Scheduler {
 public:
  // `watch` makes the reactor call Look soon.
  Scheduler(int workers, absl::AnyInvocable<void()> watch);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Started by a spawn or a yield: behind what is runnable. True: the queue of the calling worker
  // is nearly full.
  bool PushBack(TaskRecord* task);
  // Woken: the first runs next on this thread, if it is a worker.
  void PushWoken(WakeList& tasks);

  // The calling thread becomes a worker that nobody wakes: what it makes runnable it runs itself in
  // RunGuest, but for a long queue.
  Worker* AddGuest();
  void RunGuest(Worker& guest);
  // On the thread of a guest: makes the task runnable on another one. False: this is none.
  bool LeaveGuest(TaskRecord* task);
  void RemoveGuest(Worker& guest);

  // scheduler_stats.cc: the watchdog, on the thread of the reactor, which calls Look every
  // kLookInterval as long as it is wanted: something has run since the last look.
  static constexpr Duration kLookInterval = kLongSlice;
  bool look_wanted() const { return look_wanted_.load(std::memory_order_relaxed); }
  // `on_stall`, if there is any, is called once for each slice that has become longer than
  // kNamedStall.
  void Look(Time now, const TaskRegistry& registry,
            const std::function<void(const Stall&)>& on_stall);
  SchedulerStats Stats() const;
  bool has_tasks() const { return HasWork() || AnyTaskLies(); }
  // Changes whenever a task runs.
  uint64_t slices_started() const;

  // The calling thread is one of a scheduler, or runs the tasks of a guest.
  static bool RunsTasksHere();

  // Ends the threads. No task is left.
  void Stop() NURSERY_EXCLUDES(idle_mutex_);

 private:
  void Work(Worker& self);
  TaskRecord* Next(Worker& self);
  TaskRecord* Find(Worker& self);
  TaskRecord* Search(Worker& self);
  // `pauses`: since the last call. `left`: somebody has tasks, but will soon have run them.
  TaskRecord* Steal(Worker& self, uint32_t start, uint32_t pauses, bool* left);
  TaskRecord* TakeShared(Worker& self) NURSERY_EXCLUDES(shared_mutex_);
  void EndSearch(Worker& self);
  // A thread has begun to run tasks.
  void WantLook();
  void PushLocal(Worker& self, TaskRecord* task);
  // `count` tasks that were woken with another one.
  [[gnu::noinline]] void PushRest(Worker& self, WakeList& tasks, int64_t count);
  // Its worker's queue is full.
  [[gnu::noinline]] void Overflow(TaskRecord* task);
  void Announce(const Worker& self);
  void ShareAll(Worker& guest);
  void ShareOne(TaskRecord* task);
  // `count` tasks, which are runnable.
  void Share(WakeList& tasks, int64_t count) NURSERY_EXCLUDES(shared_mutex_);
  bool HasWork() const;
  [[gnu::noinline]] Worker* Current() const;

  // scheduler_idle.cc: who sleeps, and who wakes whom.
  enum class Woken { kToStop, kToSearch, kToWatch, kForNothing };

  // False: the scheduler has been stopped.
  bool Park(Worker& self) NURSERY_EXCLUDES(idle_mutex_);
  Woken WokenFor(Worker& self) NURSERY_EXCLUDES(idle_mutex_);
  bool LeaveIdle(Worker& self) NURSERY_EXCLUDES(idle_mutex_);
  // Behind the sequentially consistent operation that has put a task into a queue.
  void WakeOne() NURSERY_EXCLUDES(idle_mutex_) {
    if (idle_count_.load(std::memory_order_seq_cst) != 0) WakeIdle();
  }
  [[gnu::noinline]] void WakeIdle() NURSERY_EXCLUDES(idle_mutex_);
  // After a task was left in a place that nobody is told of. Behind what is sequentially
  // consistent: with those of Park and EndWatch either this sees who sleeps and that nobody
  // watches, or they see the task.
  void EnsureWatched() NURSERY_EXCLUDES(idle_mutex_) {
    if (watched_.load(std::memory_order_seq_cst)) return;
    if (idle_count_.load(std::memory_order_seq_cst) != 0) WakeWatcher();
  }
  [[gnu::noinline]] void WakeWatcher() NURSERY_EXCLUDES(idle_mutex_);
  // Looks after the others until woken, or until nothing runs any more. True: it is no longer idle,
  // with what it has found in its queue.
  bool Watch(Worker& self) NURSERY_EXCLUDES(idle_mutex_);
  void EndWatch(Worker& self) NURSERY_EXCLUDES(idle_mutex_);
  // `self`, no longer idle, watches no more: another one that is idle does.
  void PassWatchOn(Worker& self) NURSERY_REQUIRES(idle_mutex_);
  // Also in the places that nobody is told of.
  bool AnyTaskLies() const;
  bool IsIdle(const Worker& worker) const NURSERY_REQUIRES(idle_mutex_);
  void CountIdle() NURSERY_REQUIRES(idle_mutex_);

  std::vector<std::unique_ptr<Worker>> workers_;  // then places for guests
  const int thread_count_;

  std::atomic<int64_t> shared_size_{0};
  Mutex shared_mutex_;
  WakeList shared_ NURSERY_GUARDED_BY(shared_mutex_);

  std::atomic<bool> watched_{false};  // an idle worker looks after the others, or was told to
  std::atomic<int> searching_{0};
  std::atomic<int> idle_count_{0};
  Mutex idle_mutex_;
  std::vector<Worker*> idle_ NURSERY_GUARDED_BY(idle_mutex_);
  bool stopping_ NURSERY_GUARDED_BY(idle_mutex_) = false;

  absl::AnyInvocable<void()> watch_;
  std::atomic<bool> look_wanted_{true};  // workers begin awake
  // Of the watchdog.
  std::atomic<int64_t> long_slices_{0};
  std::atomic<int64_t> stalled_{0};  // nanoseconds

  std::vector<std::thread> threads_;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_SCHEDULER_H_
