// Mutex and MutexLock: an adaptive mutex of glibc with Clang's thread-safety annotations.
//
// absl::Mutex is not used: the distribution's Abseil is not instrumented, and ThreadSanitizer
// reports false races through it.
//
// Thread safety: as std::mutex. Never hold a lock over co_await, never run a callback under one.
#ifndef NURSERY_CORE_MUTEX_H_
#define NURSERY_CORE_MUTEX_H_

#include <pthread.h>

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

  ~Mutex() { pthread_mutex_destroy(&mutex_); }

  void Lock() NURSERY_ANNOTATION(acquire_capability()) { pthread_mutex_lock(&mutex_); }
  void Unlock() NURSERY_ANNOTATION(release_capability()) { pthread_mutex_unlock(&mutex_); }

 private:
  friend class CondVar;
  // Spins for about a microsecond before it sleeps: what it guards takes less, and to sleep and be
  // woken takes five.
  pthread_mutex_t mutex_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
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
  ~CondVar() { pthread_cond_destroy(&condition_); }

  // Releases `mutex`, waits, takes it again. May wake without cause: wait in a loop.
  void Wait(Mutex& mutex) NURSERY_REQUIRES(mutex) { pthread_cond_wait(&condition_, &mutex.mutex_); }
  void NotifyAll() { pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};

}  // namespace nursery

#endif  // NURSERY_CORE_MUTEX_H_
