// Executor: runs tasks and knows all of them. ThreadExecutor runs on worker threads; tests run the
// same code on a single-threaded, seeded one with virtual time (nursery/testing/seeded_executor.h).
//
// Thread safety: any thread. Lifetime: an executor outlives every task and Context made on it; its
// destructor checks that no task is left.
//
//   ThreadExecutor executor;
//   absl::Status done = executor.Run("main", [](Context ctx) -> Async<absl::Status> {
//     co_return co_await Sleep(ctx, std::chrono::milliseconds(10));
//   });
#ifndef NURSERY_CORE_EXECUTOR_H_
#define NURSERY_CORE_EXECUTOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/asleep.h"
#include "nursery/core/internal/blocking_pool.h"
#include "nursery/core/internal/poller.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/timers.h"
#include "nursery/core/mutex.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/task.h"

namespace nursery {

namespace internal {
class Scheduler;
struct Worker;
}  // namespace internal

class Executor {
 public:
  using Root = absl::AnyInvocable<Async<absl::Status>(Context) &&>;

  virtual ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs `root` as the root task and blocks the calling thread until it, and with it every task
  // below, has ended. An exception becomes INTERNAL. FAILED_PRECONDITION on a thread of a
  // ThreadExecutor and on that of a GuestWorker, which it would keep from their tasks: those call
  // it in RunBlocking.
  virtual absl::Status Run(std::string name, Root root,
                           std::source_location site = std::source_location::current()) = 0;

  const Clock& clock() const { return clock_; }

  TaskStats Stats() const;
  // Every live task as text, in the manner of a goroutine profile: state, reason, object and how
  // long, name, line, deadline, and the chain of the tasks that it runs in. Nothing is stopped.
  std::string Dump() const { return registry_.Dump(); }

  // The rest is for core's own primitives.
  // What has been woken, in order.
  virtual void Schedule(internal::WakeList& tasks) = 0;
  // What starts or yields: behind what is runnable. True: so many tasks wait for this thread that
  // whoever makes more of them should let them run first.
  virtual bool Schedule(internal::TaskRecord* task) = 0;
  // If this is the thread of a GuestWorker: schedules the task for another one.
  virtual bool LeaveGuest(internal::TaskRecord*) { return false; }
  // Something changed that whoever sleeps for timers and descriptors must look at.
  virtual void Kick() = 0;
  // Who holds a permit may run `work` on a thread where blocking is allowed.
  Semaphore& blocking_threads() { return blocking_threads_; }
  virtual void RunOnBlockingThread(absl::AnyInvocable<void() &&> work) = 0;
  internal::TimerQueue& timers() { return timers_; }
  internal::Poller& poller() { return poller_; }
  internal::TaskRegistry& registry() { return registry_; }

 protected:
  // `clock` outlives the executor: dumps from other threads read it as long as its tasks are known.
  // Spawns beyond `max_tasks` live ones, at least 1, are refused. Of `blocking_threads` there is at
  // least one.
  Executor(const Clock& clock, int64_t max_tasks, int64_t blocking_threads);
  virtual SchedulerStats ReadSchedulerStats() const { return {}; }
  // Wakes what is due at `now` and cancels the contexts whose deadline has passed.
  void ExpireTimers(Time now);

 private:
  const Clock& clock_;
  internal::TimerQueue timers_;
  internal::Poller poller_;
  internal::TaskRegistry registry_;
  Semaphore blocking_threads_;
};

// How many tasks an executor runs at once unless told otherwise: of 300 to 400 bytes each, about
// what a machine has memory for.
inline constexpr int64_t kDefaultMaxTasks = 4'000'000;

struct ThreadExecutorOptions {
  ThreadExecutorOptions() = default;

  // Threads that run tasks. 0: as many as there are cores to run on.
  int workers = 0;
  // The most threads for blocking calls, at least 1; they are started as needed.
  int blocking_threads = 64;
  // The most live tasks, at least 1; a spawn beyond is refused with RESOURCE_EXHAUSTED.
  int64_t max_tasks = kDefaultMaxTasks;
  // Called when no task of the process can ever run again, since all of them wait for each other:
  // no timer, descriptor or blocking call is left, and no thread of the process but those of
  // executors and those that wait in Run. With what they wait for, their wait cycles, and a dump.
  // It may cancel a scope. Default: writes that to stderr.
  std::function<void(const std::string& report)> on_asleep;
  // Called once with each task that has kept its thread for kNamedStall. Default: nothing.
  std::function<void(const Stall& stall)> on_stall;
};

// Threads that run tasks, each from a queue of its own and from what it steals from the others; one
// more waits for timers and descriptors, and looks after the others. That one calls the functions
// of the options.
class ThreadExecutor final : public Executor, private internal::Sleeper {
 public:
  explicit ThreadExecutor(ThreadExecutorOptions options);
  explicit ThreadExecutor(int workers = 0, int blocking_threads = 64);
  ~ThreadExecutor() override;

  // Cores that this process may run on.
  static int AvailableCores();

  absl::Status Run(std::string name, Root root,
                   std::source_location site = std::source_location::current()) override;

  void Schedule(internal::WakeList& tasks) override;
  bool Schedule(internal::TaskRecord* task) override;
  bool LeaveGuest(internal::TaskRecord* task) override;
  void Kick() override { poller().Interrupt(); }
  void RunOnBlockingThread(absl::AnyInvocable<void() &&> work) override;

 private:
  friend class GuestWorker;

  SchedulerStats ReadSchedulerStats() const override;
  bool CanWake() override;
  bool HasTasks() override { return registry().live() > 0; }
  void LookWhetherAsleep() override { Kick(); }
  void React();
  void TellAsleep();
  bool LookWanted() const;
  void LookAfterWorkers(Time now);

  const ThreadExecutorOptions options_;
  // Of the reactor.
  Time next_look_{};
  uint64_t slices_when_asleep_ = 0;  // all slept then, which was told
  std::atomic<bool> stopping_{false};
  const std::unique_ptr<internal::Scheduler> scheduler_;
  internal::BlockingPool blocking_;  // its threads make tasks runnable
  std::thread reactor_;
};

// A thread that has something else to wait for, such as a completion queue, and runs the tasks that
// it wakes itself, without a change of thread. Nobody wakes it for others' tasks; what takes long
// goes to the workers (OnWorker).
//
// Thread safety: made, used and destroyed by one thread, which is no worker. At most four at once.
// Lifetime: within that of the executor.
//
//   GuestWorker guest(executor);
//   while (queue.Next(&tag)) {
//     Wake(tag);
//     guest.RunReady();
//   }
class GuestWorker {
 public:
  explicit GuestWorker(ThreadExecutor& executor);
  ~GuestWorker();
  GuestWorker(const GuestWorker&) = delete;
  GuestWorker& operator=(const GuestWorker&) = delete;

  // Runs what this thread has made runnable; what it has not started after 500 us it leaves to the
  // workers.
  void RunReady();

 private:
  internal::Scheduler& scheduler_;
  internal::Worker& worker_;
};

}  // namespace nursery

#endif  // NURSERY_CORE_EXECUTOR_H_
