// Mutex and MutexLock: std::mutex with Clang's thread-safety annotations.
//
// absl::Mutex is not used: the distribution's Abseil is not instrumented, and ThreadSanitizer
// reports false races through it.
//
// Thread safety: as std::mutex. Never hold a lock over co_await, never run a callback under one.
#ifndef NURSERY_CORE_MUTEX_H_
#define NURSERY_CORE_MUTEX_H_

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define NURSERY_ANNOTATION(x) __attribute__((x))
#else
#define NURSERY_ANNOTATION(x)
#endif

#define NURSERY_GUARDED_BY(x) NURSERY_ANNOTATION(guarded_by(x))
#define NURSERY_PT_GUARDED_BY(x) NURSERY_ANNOTATION(pt_guarded_by(x))
#define NURSERY_REQUIRES(...) NURSERY_ANNOTATION(requires_capability(__VA_ARGS__))
#define NURSERY_EXCLUDES(...) NURSERY_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NURSERY_NO_THREAD_SAFETY_ANALYSIS NURSERY_ANNOTATION(no_thread_safety_analysis)

namespace nursery {

class NURSERY_ANNOTATION(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() NURSERY_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() NURSERY_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
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

// A condition variable for Mutex. Only for threads that are not scheduler workers; for several that
// wait for work there is internal/idle_threads.h.
class CondVar {
 public:
  // Releases `mutex`, waits, takes it again. May wake without cause: wait in a loop.
  void Wait(Mutex& mutex) NURSERY_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace nursery

#endif  // NURSERY_CORE_MUTEX_H_
