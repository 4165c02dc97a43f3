// Whether anything of the process can ever wake a task again.
//
// Awake is a count: of threads of executors that are not parked, of what runs or waits to run on
// threads for blocking calls, and of guests, which wait for something outside. Whoever makes one of
// them active counts it before; it takes itself out when it has nothing left to do. When nobody is
// awake, no timer is armed, no descriptor is waited for, and every thread of the process is one of
// these, then there is nobody left to make a task runnable. A thread of anybody else could.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_ASLEEP_H_
#define NURSERY_CORE_INTERNAL_ASLEEP_H_

#include "nursery/core/internal/list.h"

namespace nursery::internal {

struct SleeperTag {};

// An executor with threads; it is known from Enlist to Delist.
class Sleeper : public ListNode<SleeperTag> {
 public:
  // A timer, a descriptor or a runnable task is there.
  virtual bool CanWake() = 0;
  virtual bool HasTasks() = 0;
  // Makes its reactor look whether all are asleep.
  virtual void LookWhetherAsleep() = 0;

 protected:
  ~Sleeper() = default;
  void Enlist();
  void Delist();
};

// A thread that makes tasks runnable only while somebody is counted as awake for it.
class KnownThread {
 public:
  KnownThread();
  ~KnownThread();
  KnownThread(const KnownThread&) = delete;
  KnownThread& operator=(const KnownThread&) = delete;

 private:
  const bool is_first_;  // of this thread
};

class Awake {
 public:
  static void Enter();
  // If that was the last, a reactor looks. Outside of locks.
  static void Leave();
  // For the reactor of `self`, which looks itself: whether all are asleep, tasks of it among them.
  // Where only tasks of another one are, that one's reactor looks.
  [[nodiscard]] static bool LeaveAndLook(const Sleeper& self);
};

// Counts as awake while it lives.
class StayAwake {
 public:
  StayAwake() { Awake::Enter(); }
  ~StayAwake() { Awake::Leave(); }
  StayAwake(const StayAwake&) = delete;
  StayAwake& operator=(const StayAwake&) = delete;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_ASLEEP_H_
