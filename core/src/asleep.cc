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

// Sequentially consistent: the last of two that leave at once sees that the other has left.
std::atomic<int64_t> awake{0};
std::atomic<int64_t> known_threads{0};
thread_local bool is_known = false;

// A directory has two links of its own and one for each directory in it, here each thread. 0: this
// /proc does not say.
int64_t ThreadsOfProcess() {
  struct stat tasks;
  if (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink < 3) return 0;
  return static_cast<int64_t>(tasks.st_nlink) - 2;
}

// If all are asleep: `preferred` when tasks of it are among them; else makes the reactor of another
// one look.
Sleeper* FindAsleep(const Sleeper* preferred) {
  MutexLock lock(All().mutex);
  List<Sleeper, SleeperTag>& list = All().list;
  Sleeper* waits = nullptr;
  for (Sleeper* each = list.front(); each != nullptr; each = list.next(each)) {
    if (each->CanWake()) return nullptr;
    if (each->HasTasks() && (waits == nullptr || each == preferred)) waits = each;
  }
  if (waits == nullptr) return nullptr;
  const int64_t known = known_threads.load();
  if (known != ThreadsOfProcess() || known != known_threads.load()) return nullptr;
  // Nobody has come meanwhile, so that all of it was so at one moment, and stays.
  if (awake.load() != 0) return nullptr;
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

void Awake::Enter() { awake.fetch_add(1); }

void Awake::Leave() {
  if (awake.fetch_sub(1) == 1) FindAsleep(nullptr);
}

bool Awake::LeaveAndLook(const Sleeper& self) {
  return awake.fetch_sub(1) == 1 && FindAsleep(&self) == &self;
}

}  // namespace nursery::internal
