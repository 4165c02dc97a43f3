#include "nursery/core/internal/asleep.h"

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "nursery/core/mutex.h"

namespace nursery::internal {
namespace {

struct AllSleepers {
  Mutex mutex;
  List<Sleeper, SleeperTag> list NURSERY_GUARDED_BY(mutex);
};

AllSleepers& All() {
  static AllSleepers& all = *new AllSleepers;  // never destroyed: executors may be static too
  return all;
}

// How many are awake, and above that how often one has entered: who has seen nobody awake and the
// same again later has seen all asleep in between. Sequentially consistent: the last of two that
// leave at once sees that the other has left.
constexpr uint64_t kEntered = uint64_t{1} << 32;
std::atomic<uint64_t> awake{0};
std::atomic<int64_t> known_threads{0};
thread_local bool is_known = false;

// A directory has two links of its own and one for each directory in it, here each thread. 0: this
// /proc does not say.
int64_t ThreadsOfProcess() {
  struct stat tasks;
  if (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink < 3) return 0;
  return static_cast<int64_t>(tasks.st_nlink) - 2;
}

bool IsLast(uint64_t before_leaving) { return (before_leaving & (kEntered - 1)) == 1; }

// If all are asleep since `awake` became `asleep`: `preferred` when tasks of it are among them;
// else makes the reactor of another one look.
Sleeper* FindAsleep(const Sleeper* preferred, uint64_t asleep) {
  MutexLock lock(All().mutex);
  // First: then no thread of anybody else is there while the rest is looked at.
  if (known_threads.load() != ThreadsOfProcess()) return nullptr;
  List<Sleeper, SleeperTag>& list = All().list;
  Sleeper* waits = nullptr;
  for (Sleeper* each = list.front(); each != nullptr; each = list.next(each)) {
    if (each->CanWake()) return nullptr;
    if (each->HasTasks() && (waits == nullptr || each == preferred)) waits = each;
  }
  if (waits == nullptr) return nullptr;
  // Nobody has come meanwhile, so that all of it was so at one moment, and stays.
  if (awake.load() != asleep) return nullptr;
  if (waits != preferred) waits->LookWhetherAsleep();
  return waits;
}

}  // namespace

void Sleeper::Enlist() {
  MutexLock lock(All().mutex);
  All().list.PushBack(this);
}

void Sleeper::Delist() {
  MutexLock lock(All().mutex);
  Unlink();
}

KnownThread::KnownThread() : is_first_(!std::exchange(is_known, true)) {
  if (is_first_) known_threads.fetch_add(1);
}

KnownThread::~KnownThread() {
  if (!is_first_) return;
  known_threads.fetch_sub(1);
  is_known = false;
}

void Awake::Enter() { awake.fetch_add(kEntered + 1); }

void Awake::Leave() {
  const uint64_t before = awake.fetch_sub(1);
  if (IsLast(before)) FindAsleep(nullptr, before - 1);
}

bool Awake::LeaveAndLook(const Sleeper& self) {
  const uint64_t before = awake.fetch_sub(1);
  return IsLast(before) && FindAsleep(&self, before - 1) == &self;
}

}  // namespace nursery::internal
