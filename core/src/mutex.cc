#include "nursery/core/mutex.h"

#include <cerrno>

#include "nursery/core/internal/pause.h"

namespace nursery {
namespace {

// About a microsecond: what a mutex guards takes less, and to sleep and be woken takes five.
constexpr int kSpins = 50;

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
    state_.wait(kAwaited, std::memory_order_relaxed);
  }
  errno = error;
}

// The mutex may be gone: only its address is used.
void Mutex::Wake() {
  const int error = errno;
  state_.notify_one();
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
