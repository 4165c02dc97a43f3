// How workers of a Scheduler sleep, wake each other, and look after each other.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "nursery/core/clock.h"
#include "nursery/core/internal/asleep.h"
#include "nursery/core/internal/scheduler.h"
#include "nursery/core/internal/worker.h"

namespace nursery::internal {
namespace {

using std::chrono::microseconds;

// The watcher looks less and less often while it finds nothing. A task that lies there at two looks
// kSecondLook apart, while its owner has started no slice, was left behind. It ends its watch when
// nothing has run for kQuiet.
constexpr microseconds kSecondLook{100};
constexpr microseconds kLongestWatch{10'000};
constexpr microseconds kQuiet{50'000};

void WaitForPost(sem_t& semaphore) {
  while (sem_wait(&semaphore) != 0 && errno == EINTR) {
  }
}

// Whether it was posted meanwhile.
bool WaitFor(sem_t& semaphore, microseconds patience) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t nanoseconds = (Clock::Steady().Now() + patience).time_since_epoch().count();
  const timespec until = {.tv_sec = nanoseconds / kSecond, .tv_nsec = nanoseconds % kSecond};
  int failed;
  do {
    failed = sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until);
  } while (failed != 0 && errno == EINTR);
  return failed == 0;
}

}  // namespace

bool Scheduler::IsIdle(const Worker& worker) const {
  return std::find(idle_.begin(), idle_.end(), &worker) != idle_.end();
}

void Scheduler::CountIdle() {
  idle_count_.store(static_cast<int>(idle_.size()), std::memory_order_relaxed);
}

void Scheduler::WakeIdle() {
  int none = 0;
  if (!searching_.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) return;
  Worker* worker = nullptr;
  {
    MutexLock lock(idle_mutex_);
    if (idle_.empty()) {
      // Under the lock: who goes to sleep next must not be passed over for this searcher.
      searching_.fetch_sub(1, std::memory_order_seq_cst);
      return;
    }
    // The caches of the last one are the warmest; the watcher goes on watching if it can.
    if (idle_.back()->watches) std::swap(idle_.back(), idle_.front());
    worker = idle_.back();
    idle_.pop_back();
    CountIdle();
    Awake::Enter();
  }
  sem_post(&worker->wake);
}

bool Scheduler::AnyTaskLies() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const auto& worker) { return worker->HasTasks(); });
}

void Scheduler::WakeWatcher() {
  MutexLock lock(idle_mutex_);
  if (idle_.empty() || watched_.exchange(true)) return;
  idle_.front()->watches = true;
  sem_post(&idle_.front()->wake);
}

void Scheduler::PassWatchOn(Worker& self) {
  if (!std::exchange(self.watches, false)) return;
  if (idle_.empty()) {
    watched_.store(false);  // whoever goes to sleep next watches
    return;
  }
  idle_.front()->watches = true;
  sem_post(&idle_.front()->wake);
}

bool Scheduler::LeaveIdle(Worker& self) {
  MutexLock lock(idle_mutex_);
  const auto found = std::find(idle_.begin(), idle_.end(), &self);
  if (found == idle_.end()) return false;
  idle_.erase(found);
  CountIdle();
  PassWatchOn(self);
  return true;
}

bool Scheduler::Park(Worker& self) {
  {
    MutexLock lock(idle_mutex_);
    if (stopping_) return false;
    idle_.push_back(&self);
    CountIdle();
    // Where nothing runs nothing is left behind.
    const bool all_idle = idle_.size() == static_cast<size_t>(thread_count_);
    self.watches = !all_idle && !watched_.exchange(true);
  }
  if (std::exchange(self.searching, false)) searching_.fetch_sub(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (HasWork() && LeaveIdle(self)) {
    WantLook();
    return true;
  }
  if (AnyTaskLies()) EnsureWatched();
  Awake::Leave();
  for (;;) {
    switch (WokenFor(self)) {
      case Woken::kToStop:
        return false;
      case Woken::kToSearch:
        self.searching = true;  // counted by the one who woke it, as is that it is awake
        WantLook();
        return true;
      case Woken::kToWatch:
        if (!Watch(self)) break;
        WantLook();
        return true;
      case Woken::kForNothing:
        WaitForPost(self.wake);
        break;
    }
  }
}

Scheduler::Woken Scheduler::WokenFor(Worker& self) {
  MutexLock lock(idle_mutex_);
  if (stopping_) return Woken::kToStop;
  if (IsIdle(self)) return self.watches ? Woken::kToWatch : Woken::kForNothing;
  PassWatchOn(self);
  return Woken::kToSearch;
}

bool Scheduler::Watch(Worker& self) {
  microseconds patience = kSecondLook;
  microseconds quiet{};
  bool second = false;  // this look checks what the one before has seen
  while (quiet < kQuiet) {
    const microseconds wait = second ? kSecondLook : patience;
    if (WaitFor(self.wake, wait)) return false;
    bool moved = false;
    bool lies = false;
    for (const auto& each : workers_) {
      Worker& worker = *each;
      const uint32_t slices = worker.slices.load(std::memory_order_relaxed);
      const bool stands = slices == worker.slices_seen;
      const bool has_tasks = worker.HasTasks();
      if (second && stands && has_tasks && worker.tasks_seen) {
        if (!LeaveIdle(self)) return false;  // it has been woken
        Awake::Enter();
        TaskRecord* task = worker.queue.PopNext();
        if (task == nullptr) task = self.queue.StealFrom(worker.queue);
        if (task != nullptr) self.queue.PushNext(task);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (self.queue.size() != 0) WakeOne();
        return true;
      }
      moved = moved || !stands;
      lies = lies || has_tasks;
      worker.slices_seen = slices;
      worker.tasks_seen = has_tasks;
    }
    quiet = moved || lies ? microseconds{} : quiet + wait;
    if (!second) patience = std::min(2 * patience, kLongestWatch);
    second = lies && !second;
  }
  EndWatch(self);
  return false;
}

void Scheduler::EndWatch(Worker& self) {
  {
    MutexLock lock(idle_mutex_);
    if (!std::exchange(self.watches, false)) return;
    watched_.store(false);
  }
  // Who has left a task behind before that was content with this watch.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (AnyTaskLies()) EnsureWatched();
}

}  // namespace nursery::internal
