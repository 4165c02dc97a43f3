// IdleThreads: threads that wait for work, each on a semaphore of its own.
//
// Not a condition variable: here a wake-up has one addressee and stays until it is seen.
//
// Thread safety: Wait and Take under the owner's mutex; Wake after it was released.
#ifndef NURSERY_CORE_INTERNAL_IDLE_THREADS_H_
#define NURSERY_CORE_INTERNAL_IDLE_THREADS_H_

#include <semaphore.h>

#include <cerrno>

#include "nursery/core/mutex.h"

namespace nursery::internal {

class IdleThreads {
 public:
  // A waiting thread; lives on its stack until it was woken.
  class Thread {
   public:
    Thread() { sem_init(&semaphore_, 0, 0); }
    ~Thread() { sem_destroy(&semaphore_); }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

   private:
    friend class IdleThreads;
    sem_t semaphore_;
    Thread* next_ = nullptr;
  };

  // Sleeps until taken and woken, without the mutex.
  void Wait(Mutex& mutex) NURSERY_REQUIRES(mutex) {
    Thread self;
    self.next_ = last_;
    last_ = &self;
    mutex.Unlock();
    while (sem_wait(&self.semaphore_) != 0 && errno == EINTR) {
    }
    mutex.Lock();
  }

  // Up to `count` threads, those that fell asleep last first: their caches are warm. They are not
  // idle any more, and must be woken.
  Thread* Take(int count) {
    Thread* taken = nullptr;
    for (; count > 0 && last_ != nullptr; --count) {
      Thread* const thread = last_;
      last_ = thread->next_;
      thread->next_ = taken;
      taken = thread;
    }
    return taken;
  }
  static void Wake(Thread* taken) {
    while (taken != nullptr) {
      Thread* const next = taken->next_;
      sem_post(&taken->semaphore_);  // gone from here on
      taken = next;
    }
  }
  bool empty() const { return last_ == nullptr; }

 private:
  Thread* last_ = nullptr;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_IDLE_THREADS_H_
