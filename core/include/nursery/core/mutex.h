// Mutex and MutexLock: four bytes, one inlined atomic exchange where nobody else wants it, with
// Clang's thread-safety annotations. Taking and leaving that of glibc costs three times as much,
// and keeps the compiler from what is around it; it has 40 bytes.
//
// absl::Mutex is not used: the distribution's Abseil is not instrumented, and ThreadSanitizer
// reports false races through it.
//
// The algorithm is the third one of U. Drepper, "Futexes Are Tricky" (2011), with a wait that spins
// before it sleeps. Its unlock looks and then stores: the one atomic exchange that it saves is half
// of the price. Who comes to sleep between the two is not woken, and looks again by itself.
//
// Thread safety: as std::mutex. Never hold a lock over co_await, never run a callback under one.
#ifndef NURSERY_CORE_MUTEX_H_
#define NURSERY_CORE_MUTEX_H_

#include <atomic>

#if defined(__SANITIZE_THREAD__)
#define NURSERY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NURSERY_TSAN 1
#endif
#endif
#ifdef NURSERY_TSAN
// So that it still knows a mutex, and reports locks in two orders.
#include <sanitizer/tsan_interface.h>
#define NURSERY_TELL_TSAN(call) call
#else
#define NURSERY_TELL_TSAN(call) static_cast<void>(0)
#endif

#if defined(__clang__)
#define NURSERY_ANNOTATION(x) __attribute__((x))
#else
#define NURSERY_ANNOTATION(x)
#endif

#define NURSERY_GUARDED_BY(x) NURSERY_ANNOTATION(guarded_by(x))
#define NURSERY_REQUIRES(...) NURSERY_ANNOTATION(requires_capability(__VA_ARGS__))
#define NURSERY_EXCLUDES(...) NURSERY_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace nursery {

class NURSERY_ANNOTATION(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

#ifdef NURSERY_TSAN
  ~Mutex() { __tsan_mutex_destroy(this, __tsan_mutex_linker_init); }
#endif

  void Lock() NURSERY_ANNOTATION(acquire_capability()) {
    NURSERY_TELL_TSAN(__tsan_mutex_pre_lock(this, __tsan_mutex_linker_init));
    int free = kFree;
    if (!state_.compare_exchange_strong(free, kTaken, std::memory_order_acquire)) Wait();
    NURSERY_TELL_TSAN(__tsan_mutex_post_lock(this, __tsan_mutex_linker_init, 0));
  }
  void Unlock() NURSERY_ANNOTATION(release_capability()) {
    NURSERY_TELL_TSAN(__tsan_mutex_pre_unlock(this, 0));
    if (state_.load(std::memory_order_relaxed) == kTaken) {
      state_.store(kFree, std::memory_order_release);
    } else {
      Wake();
    }
    NURSERY_TELL_TSAN(__tsan_mutex_post_unlock(this, 0));
  }

 private:
  enum : int { kFree, kTaken, kAwaited };  // by the owner; by the owner, and others may sleep

  void Wait();
  void Wake();  // and unlocks

  std::atomic<int> state_{kFree};
};

// Locks in its constructor, unlocks in its destructor.
class NURSERY_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) NURSERY_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() NURSERY_ANNOTATION(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// A condition variable for Mutex. A scheduler worker waits on one only for what another thread is
// just doing; for several threads that wait for work there is internal/idle_threads.h.
class CondVar {
 public:
  CondVar() = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  // Releases `mutex`, waits, takes it again. May wake without cause: wait in a loop.
  void Wait(Mutex& mutex) NURSERY_REQUIRES(mutex);
  // Under the mutex, or the condition variable may be gone already.
  void NotifyAll();

 private:
  std::atomic<int> notified_{0};  // how often; it may wrap
};

}  // namespace nursery

#endif  // NURSERY_CORE_MUTEX_H_
