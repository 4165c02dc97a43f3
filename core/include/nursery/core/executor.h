// Executor: runs tasks and knows all of them. ThreadExecutor runs on worker threads; tests run the
// same code on a single-threaded, seeded one with virtual time (core/testing/seeded_executor.h).
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

#include <cstdint>
#include <source_location>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/internal/blocking_pool.h"
#include "nursery/core/internal/idle_threads.h"
#include "nursery/core/internal/poller.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/timers.h"
#include "nursery/core/mutex.h"
#include "nursery/core/task.h"

namespace nursery {

class Executor {
 public:
  using Root = absl::AnyInvocable<Async<absl::Status>(Context) &&>;

  virtual ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs `root` as the root task and blocks the calling thread until it, and with it every task
  // below, has ended. An exception becomes INTERNAL. Never call it from a task.
  virtual absl::Status Run(std::string name, Root root,
                           std::source_location site = std::source_location::current()) = 0;

  const Clock& clock() const { return clock_; }

  TaskStats Stats() const { return registry_.Stats(); }
  // Every live task as text, in the manner of a goroutine profile: state, reason, object and how
  // long, name, line, deadline, and the chain of the tasks that it runs in. Nothing is stopped.
  std::string Dump() const { return registry_.Dump(); }

  // The rest is for core's own primitives.
  virtual void Schedule(internal::WakeList& tasks) = 0;
  virtual void Schedule(internal::TaskRecord* task) = 0;
  // Something changed that whoever sleeps for timers and descriptors must look at.
  virtual void Kick() = 0;
  // Runs `work` on a thread where blocking is allowed. Never refuses: callers hold a place.
  virtual void RunOnBlockingThread(absl::AnyInvocable<void() &&> work) = 0;
  internal::TimerQueue& timers() { return timers_; }
  internal::Poller& poller() { return poller_; }
  internal::TaskRegistry& registry() { return registry_; }

 protected:
  // `clock` outlives the executor: dumps from other threads read it as long as its tasks are known.
  explicit Executor(const Clock& clock) : clock_(clock), registry_(clock) {}
  // Wakes what is due at `now` and cancels the contexts whose deadline has passed.
  void ExpireTimers(Time now);

 private:
  const Clock& clock_;
  internal::TimerQueue timers_;
  internal::Poller poller_;
  internal::TaskRegistry registry_;
};

// `workers` threads that run tasks, one that waits for timers and descriptors.
class ThreadExecutor final : public Executor {
 public:
  // 0 workers: as many as there are cores to run on. `blocking_threads` bounds the threads for
  // blocking calls, which are started as needed.
  explicit ThreadExecutor(int workers = 0, int blocking_threads = 64);
  ~ThreadExecutor() override;

  // Cores that this process may run on.
  static int AvailableCores();

  absl::Status Run(std::string name, Root root,
                   std::source_location site = std::source_location::current()) override;

  void Schedule(internal::WakeList& tasks) override NURSERY_EXCLUDES(mutex_);
  void Schedule(internal::TaskRecord* task) override NURSERY_EXCLUDES(mutex_);
  void Kick() override { poller().Interrupt(); }
  void RunOnBlockingThread(absl::AnyInvocable<void() &&> work) override;

 private:
  void Stop();
  void Work() NURSERY_EXCLUDES(mutex_);
  void React() NURSERY_EXCLUDES(mutex_);
  internal::TaskRecord* Next() NURSERY_EXCLUDES(mutex_);

  Mutex mutex_;
  internal::WakeList queue_ NURSERY_GUARDED_BY(mutex_);
  internal::IdleThreads idle_ NURSERY_GUARDED_BY(mutex_);
  bool stopping_ NURSERY_GUARDED_BY(mutex_) = false;
  internal::BlockingPool blocking_;
  std::vector<std::thread> threads_;
};

}  // namespace nursery

#endif  // NURSERY_CORE_EXECUTOR_H_
