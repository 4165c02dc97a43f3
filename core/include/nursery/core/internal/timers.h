// Timers of one executor: a heap of intrusive timers under one lock.
//
// Thread safety: any thread. Lifetime: a timer is cancelled, or has expired, before it dies.
#ifndef NURSERY_CORE_INTERNAL_TIMERS_H_
#define NURSERY_CORE_INTERNAL_TIMERS_H_

#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/mutex.h"
#include "nursery/core/task.h"

namespace nursery::internal {

class ContextNode;

// What expired timers ask for, done after the timers' lock is released.
struct Expired {
  WakeList wake;
  std::vector<ContextNode*> contexts;  // one reference each
};

class Timer {
 public:
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // For the queue: called once, under its lock, with the timer already out of it.
  virtual void OnExpire(Expired& expired) = 0;

  // Where it stands in the queue, which guards it.
  struct Place {
    Time when{};
    uint64_t sequence = 0;
    int64_t index = -1;
  };
  Place place;

 protected:
  Timer() = default;
  ~Timer() { NURSERY_CHECK(place.index < 0) << "a timer died armed"; }
};

class TimerQueue {
 public:
  // Arms `timer`. True when it is earlier than the plan of whoever sleeps, who must be told.
  bool Add(Timer& timer, Time when) NURSERY_EXCLUDES(mutex_);
  // Disarms `timer` if it is armed. Afterwards OnExpire does not run and is not running.
  void Cancel(Timer& timer) NURSERY_EXCLUDES(mutex_);
  // When the earliest expires; kNever when there is none.
  Time Next() const NURSERY_EXCLUDES(mutex_);
  // The same, for whoever goes to sleep until then. It sleeps on when that timer is cancelled, so
  // that a row of timeouts, each armed and cancelled, interrupts it once and not each time.
  Time PlanSleep() NURSERY_EXCLUDES(mutex_);
  // Expires everything due at `now`, in the order of time, then of arming.
  void Expire(Time now, Expired& expired) NURSERY_EXCLUDES(mutex_);
  size_t size() const NURSERY_EXCLUDES(mutex_);

 private:
  static bool Before(const Timer& a, const Timer& b);
  void SiftUp(size_t hole, Timer* timer) NURSERY_REQUIRES(mutex_);
  void SiftDown(size_t hole, Timer* timer) NURSERY_REQUIRES(mutex_);
  void Remove(size_t index) NURSERY_REQUIRES(mutex_);
  void Place(size_t index, Timer* timer) NURSERY_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::vector<Timer*> heap_ NURSERY_GUARDED_BY(mutex_);
  uint64_t sequence_ NURSERY_GUARDED_BY(mutex_) = 0;
  Time planned_ NURSERY_GUARDED_BY(mutex_) = kNever;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_TIMERS_H_
