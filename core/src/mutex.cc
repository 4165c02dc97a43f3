#include "nursery/core/mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "nursery/core/internal/pause.h"

namespace nursery {
namespace {

// About a microsecond: what a mutex guards takes less, and to sleep and be woken takes five.
constexpr int kSpins = 50;
// Who was not woken, because it came while the owner was between its look and its store, sleeps no
// longer. That happens to few of those that sleep: the owner is there for some nanoseconds.
constexpr timespec kLongestSleep = {.tv_sec = 0, .tv_nsec = 200'000};

static_assert(sizeof(std::atomic<int>) == sizeof(int), "a futex is an int");

}  // namespace

void Mutex::Wait() {
  for (int i = 0; i < kSpins; ++i) {
    internal::Pause();
    int free = kFree;
    if (state_.load(std::memory_order_relaxed) == kFree &&
        state_.compare_exchange_strong(free, kTaken, std::memory_order_acquire)) {
      return;
    }
  }
  const int error = errno;
  while (state_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
    // Not std::atomic::wait, which cannot end by itself.
    syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, kAwaited, &kLongestSleep, nullptr, 0);
  }
  errno = error;
}

void Mutex::Wake() {
  state_.store(kFree, std::memory_order_release);
  // The mutex may be gone: only its address is used.
  const int error = errno;
  syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  errno = error;
}

void CondVar::Wait(Mutex& mutex) {
  const int seen = notified_.load(std::memory_order_relaxed);
  mutex.Unlock();
  notified_.wait(seen, std::memory_order_relaxed);
  mutex.Lock();
}

void CondVar::NotifyAll() {
  notified_.fetch_add(1, std::memory_order_relaxed);
  notified_.notify_all();
}

}  // namespace nursery
