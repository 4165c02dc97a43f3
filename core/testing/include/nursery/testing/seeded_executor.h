// SeededExecutor: runs tasks on the calling thread, in an order drawn from a seed, in virtual time.
// The same seed gives the same run.
//
// Time stands still while tasks run and jumps to the next timer when none can; now and then it
// jumps early, as on a slow machine. When nothing can ever run again ("all tasks are asleep"), Run
// cancels the root, and gives ABORTED, which IsDeadlock tells from others. It says what was waited
// for at that moment: first the tasks that wait for no children, counted, then every task.
//
// Thread safety: one thread; others may dump its tasks.
//
//   SeededExecutor executor(seed);
//   absl::Status status = executor.Run("test", Scenario);
#ifndef NURSERY_TESTING_SEEDED_EXECUTOR_H_
#define NURSERY_TESTING_SEEDED_EXECUTOR_H_

#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "nursery/core/executor.h"

namespace nursery {

class ManualClock final : public Clock {
 public:
  ManualClock() = default;
  Time Now() const override {
    // Relaxed: dumps of other threads read it, and nothing else follows from it.
    return now_.load(std::memory_order_relaxed);
  }
  Time CoarseNow() const override { return Now(); }
  WallTime WallNow() const override {
    return kEpoch + std::chrono::duration_cast<WallTime::duration>(Now() - kStart);
  }
  void Set(Time now);

 private:
  // Away from zero, so that instants before the start can be said.
  static constexpr Time kStart{std::chrono::hours(1)};
  // 2026-01-01T00:00:00Z
  static constexpr WallTime kEpoch{std::chrono::seconds(1'767'225'600)};

  std::atomic<Time> now_ = kStart;
};

namespace internal {
// A base, so that the clock is there before the Executor and after it.
struct OwnClock {
  ManualClock manual_clock;
};
}  // namespace internal

class SeededExecutor final : private internal::OwnClock, public Executor {
 public:
  explicit SeededExecutor(uint64_t seed, int64_t max_tasks = kDefaultMaxTasks)
      : Executor(manual_clock, max_tasks, /*blocking_threads=*/4), random_(seed) {}

  absl::Status Run(std::string name, Root root,
                   std::source_location site = std::source_location::current()) override;

  // Differs, but for chance, between runs whose tasks ran in different orders.
  uint64_t schedule() const { return schedule_; }
  uint64_t slices() const { return slices_; }
  // From now on time also jumps to the next timer while tasks can run, as on a slow machine.
  void BeSlow() { slow_ = true; }
  // Time passes without anybody looking at the timers, as when the machine stalls.
  void Stall(Duration duration) { manual_clock.Set(manual_clock.Now() + duration); }
  // A number in [0, bound), from the seed.
  uint64_t Random(uint64_t bound) { return random_() % bound; }

  void Schedule(internal::WakeList& tasks) override;
  bool Schedule(internal::TaskRecord* task) override;
  void Kick() override {}
  // Runs it at once: virtual time stands still.
  void RunOnBlockingThread(absl::AnyInvocable<void() &&> work) override { std::move(work)(); }

 private:
  // Makes something runnable: descriptors, then time. False: nothing ever will be.
  bool WakeSomething();
  void AdvanceToNextTimer();
  void RunOne();

  std::mt19937_64 random_;
  std::vector<internal::TaskRecord*> runnable_;
  bool slow_ = false;
  uint64_t schedule_ = 0;
  uint64_t slices_ = 0;
};

// Whether `status` says that all tasks were asleep.
bool IsDeadlock(const absl::Status& status);

}  // namespace nursery

#endif  // NURSERY_TESTING_SEEDED_EXECUTOR_H_
