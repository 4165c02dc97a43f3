#include "nursery/core/internal/scheduler.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "nursery/core/check.h"
#include "nursery/core/clock.h"
#include "nursery/core/internal/asleep.h"
#include "nursery/core/internal/pause.h"
#include "nursery/core/internal/thread_variable.h"
#include "nursery/core/internal/worker.h"

namespace nursery::internal {
namespace {

// Threads of others that may run tasks.
constexpr int kMaxGuests = 4;
// So many tasks wait for a guest before the workers are told of them, and so long does it start
// slices before it goes back to what else it serves.
constexpr uint32_t kGuestBacklog = 4;
constexpr std::chrono::microseconds kGuestTime{500};
// At most so many tasks are taken from the shared queue at once.
constexpr uint32_t kSharedBatch = 64;
// Three quarters of a queue: what comes beyond the whole goes to the shared one.
constexpr uint32_t kCrowd = 192;
// How long a worker searches before it sleeps: 5 to 10 us, about what waking it costs.
constexpr int kSearchRounds = 8;
constexpr uint32_t kPauses = 40;
// What the owner of a queue will have run within so many pauses, about 20 us, is left to it: to
// move tasks to another core costs more than short ones do. Each look takes the memory of the queue
// away from its owner, so they become rarer then.
constexpr uint32_t kPausesLeft = 1200;
constexpr uint32_t kMostPauses = 640;

NURSERY_THREAD_VARIABLE Worker* current_worker = nullptr;
// How many tasks this thread, which is no worker, has made runnable.
NURSERY_THREAD_VARIABLE uint32_t made_runnable = 0;

}  // namespace

Scheduler::Scheduler(int workers, absl::AnyInvocable<void()> watch)
    : thread_count_(workers), watch_(std::move(watch)) {
  for (int i = 0; i < workers + kMaxGuests; ++i) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->random = static_cast<uint32_t>(i) + 1;
  }
  for (const auto& worker : workers_) worker->slices_of.resize(workers_.size());
  // Guests steal from nobody.
  if (workers == 1) workers_.front()->queue.KeepAll();
  try {
    for (int i = 0; i < workers; ++i) {
      workers_[i]->scheduler = this;
      Awake::Enter();
      threads_.emplace_back([this, i] { Work(*workers_[i]); });
    }
  } catch (const std::system_error&) {
    Awake::Leave();
    // Fewer workers do, but none does not.
    if (threads_.empty()) throw;
  }
}

Scheduler::~Scheduler() { Stop(); }

void Scheduler::Stop() {
  std::vector<Worker*> idle;
  {
    MutexLock lock(idle_mutex_);
    stopping_ = true;
    idle.swap(idle_);
    for (size_t i = 0; i < idle.size(); ++i) Awake::Enter();
  }
  for (Worker* worker : idle) sem_post(&worker->wake);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  MutexLock last(shared_mutex_);  // whoever still wakes a worker for what it has shared; see Share
}

bool Scheduler::RunsTasksHere() { return current_worker != nullptr; }

Worker* Scheduler::Current() const {
  Worker* const worker = current_worker;
  return worker != nullptr && worker->scheduler == this ? worker : nullptr;
}

bool Scheduler::PushBack(TaskRecord* task) {
  Worker* const self = Current();
  if (self == nullptr) {
    ShareOne(task);
    return false;
  }
  // A task that yields comes back to this worker; alone, it is no work for another one.
  const Doing doing = task->state.load(std::memory_order_relaxed);
  const bool yields = doing == TaskState::kRunning;
  const bool goes_on = yields && self->CanGoOn();
  if (yields && !goes_on) task->Enter(TaskState::kRunnable, WaitReason::kNone, nullptr);
  // Yields by slices: of those, only each kSharedInterval-th may be queued.
  task->MayBeTimed(yields ? self->slices.load(std::memory_order_relaxed) : self->queue.pushes());
  if (goes_on) {
    self->goes_on = true;
    return false;
  }
  PushLocal(*self, task);
  const uint32_t size = self->queue.size();
  if (!yields || size > 1 || self->queue.has_next()) Announce(*self);
  return size >= kCrowd;
}

void Scheduler::ShareOne(TaskRecord* task) {
  WakeList one;
  one.Push(task);
  Share(one, one.EnterRunnable(++made_runnable));
}

void Scheduler::PushWoken(WakeList& tasks) {
  Worker* const self = Current();
  if (self == nullptr) {
    Share(tasks, tasks.EnterRunnable(++made_runnable));
    return;
  }
  const int64_t count = tasks.EnterRunnable(self->slices.load(std::memory_order_relaxed));
  TaskRecord* const displaced = self->queue.PushNext(tasks.Pop());
  if (displaced != nullptr) PushLocal(*self, displaced);
  if (count > 1) {
    PushRest(*self, tasks, count - 1);
  } else if (displaced != nullptr) {
    Announce(*self);
  }
  EnsureWatched();  // the first lies where nobody is told of it
}

void Scheduler::PushRest(Worker& self, WakeList& tasks, int64_t count) {
  const uint32_t kept = self.queue.PushSome(tasks, kSharedBatch);
  // A crowd goes to all workers at once.
  if (tasks.empty()) {
    Announce(self);
  } else {
    Share(tasks, count - kept);
  }
}

void Scheduler::PushLocal(Worker& self, TaskRecord* task) {
  if (!self.queue.PushBack(task)) Overflow(task);
}

void Scheduler::Overflow(TaskRecord* task) {
  MutexLock lock(shared_mutex_);
  shared_.Push(task);
  shared_size_.fetch_add(1, std::memory_order_seq_cst);
}

void Scheduler::Announce(const Worker& self) {
  const bool guest = self.guest.load(std::memory_order_relaxed);
  if (!guest || self.queue.size() > kGuestBacklog) WakeOne();
  if (guest) EnsureWatched();  // what it keeps lies where nobody is told of it
}

void Scheduler::Share(WakeList& tasks, int64_t count) {
  {
    MutexLock lock(shared_mutex_);
    shared_.Append(tasks);
    shared_size_.fetch_add(count, std::memory_order_seq_cst);
    // Under the lock: a caller that is no worker may be overtaken by the end of the executor, which
    // takes the lock first.
    WakeOne();
  }
}

TaskRecord* Scheduler::TakeShared(Worker& self) {
  if (shared_size_.load(std::memory_order_relaxed) == 0) return nullptr;
  MutexLock lock(shared_mutex_);
  const int64_t size = shared_size_.load(std::memory_order_relaxed);
  const int64_t share = std::min<int64_t>(size / thread_count_, kSharedBatch);
  TaskRecord* const first = shared_.Pop();
  if (first == nullptr) return nullptr;
  // Room is left for all of them when its own queue is empty, which is when it comes for many.
  const uint32_t room = kSharedBatch - std::min(self.queue.size(), kSharedBatch);
  const uint32_t more = self.queue.PushSome(shared_, std::min(static_cast<uint32_t>(share), room));
  // Release: who sees that they are gone from here sees them in this worker's queue.
  shared_size_.fetch_sub(1 + more, std::memory_order_release);
  return first;
}

bool Scheduler::HasWork() const {
  if (shared_size_.load(std::memory_order_acquire) != 0) return true;
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& worker) {
    const uint32_t kept = worker->guest.load(std::memory_order_relaxed) ? kGuestBacklog : 0;
    return worker->queue.size() > kept;
  });
}

void Scheduler::EndSearch(Worker& self) {
  if (!std::exchange(self.searching, false)) return;
  if (searching_.fetch_sub(1, std::memory_order_seq_cst) != 1) return;
  // Who made a task runnable meanwhile has counted on this search.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (HasWork()) WakeOne();
}

TaskRecord* Scheduler::Steal(Worker& self, uint32_t start, uint32_t pauses, bool* left) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    const size_t index = (start + i) % workers_.size();
    Worker& victim = *workers_[index];
    const uint32_t kept = victim.guest.load(std::memory_order_relaxed) ? kGuestBacklog : 0;
    const uint32_t size = victim.queue.size();
    if (&victim == &self || size <= kept) continue;
    const uint32_t slices = victim.slices.load(std::memory_order_relaxed);
    const uint32_t since = slices - std::exchange(self.slices_of[index], slices);
    if (uint64_t{size} * pauses < uint64_t{since} * kPausesLeft) {
      *left = true;
      continue;
    }
    if (TaskRecord* task = self.queue.StealFrom(victim.queue)) return task;
  }
  return nullptr;
}

TaskRecord* Scheduler::Search(Worker& self) {
  if (!self.searching) {
    // Half of the workers search at most: more would only be in each other's way.
    if (2 * searching_.load(std::memory_order_relaxed) >= thread_count_) return nullptr;
    self.searching = true;
    searching_.fetch_add(1, std::memory_order_seq_cst);
  }
  uint32_t pauses = kPauses;
  for (int round = 0; round < kSearchRounds; ++round) {
    bool left = false;
    self.random = self.random * 1664525 + 1013904223;  // Numerical Recipes' generator
    if (TaskRecord* task = Steal(self, self.random >> 16, pauses, &left)) return task;
    if (TaskRecord* task = TakeShared(self)) return task;
    pauses = left ? std::min(2 * pauses, kMostPauses) : kPauses;
    if (left) round = 0;  // there is work
    for (uint32_t i = 0; i < pauses; ++i) Pause();
  }
  return nullptr;
}

TaskRecord* Scheduler::Find(Worker& self) {
  if (--self.until_shared == 0) {
    self.until_shared = Worker::kSharedInterval;
    if (TaskRecord* task = TakeShared(self)) return task;
  }
  if (TaskRecord* task = self.TakeOwn()) return task;
  if (TaskRecord* task = TakeShared(self)) return task;
  return Search(self);
}

TaskRecord* Scheduler::Next(Worker& self) {
  for (;;) {
    if (TaskRecord* task = Find(self)) {
      EndSearch(self);
      return task;
    }
    if (!Park(self)) return nullptr;
  }
}

void Scheduler::Work(Worker& self) {
  const KnownThread known;
  current_worker = &self;
  while (TaskRecord* task = Next(self)) self.RunSlice(task);
  Awake::Leave();
}

Worker* Scheduler::AddGuest() {
  NURSERY_CHECK(current_worker == nullptr) << "the thread runs tasks already";
  for (size_t i = static_cast<size_t>(thread_count_); i < workers_.size(); ++i) {
    if (workers_[i]->guest.exchange(true, std::memory_order_acq_rel)) continue;
    workers_[i]->scheduler = this;
    current_worker = workers_[i].get();
    Awake::Enter();  // for as long as it lives: it waits for something outside
    return current_worker;
  }
  NURSERY_CHECK(false) << "more than " << kMaxGuests << " guests";
  return nullptr;
}

void Scheduler::RunGuest(Worker& guest) {
  TaskRecord* task = guest.TakeOwn();
  if (task == nullptr) return;
  WantLook();
  const Time end = Clock::Steady().Now() + kGuestTime;
  do {
    guest.RunSlice(task);
    if (Clock::Steady().Now() >= end) {
      ShareAll(guest);
      return;
    }
    task = guest.TakeOwn();
  } while (task != nullptr);
}

bool Scheduler::LeaveGuest(TaskRecord* task) {
  const Worker* const self = Current();
  if (self == nullptr || !self->guest.load(std::memory_order_relaxed)) return false;
  ShareOne(task);
  return true;
}

void Scheduler::ShareAll(Worker& guest) {
  WakeList rest;
  int64_t count = 0;
  for (; TaskRecord* task = guest.TakeOwn(); ++count) rest.Push(task);
  if (count > 0) Share(rest, count);
}

void Scheduler::RemoveGuest(Worker& guest) {
  current_worker = nullptr;
  ShareAll(guest);
  guest.guest.store(false, std::memory_order_release);
  Awake::Leave();
}

}  // namespace nursery::internal
