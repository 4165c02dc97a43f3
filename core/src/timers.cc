#include "nursery/core/internal/timers.h"

#include "nursery/core/internal/planted.h"

namespace nursery::internal {

bool TimerQueue::Before(const Timer& a, const Timer& b) {
  return a.place.when != b.place.when ? a.place.when < b.place.when
                                      : a.place.sequence < b.place.sequence;
}

bool TimerQueue::Add(Timer& timer, Time when) {
  MutexLock lock(mutex_);
  NURSERY_CHECK(timer.place.index < 0) << "armed twice";
  timer.place.when = when;
  timer.place.sequence = sequence_++;
  heap_.push_back(nullptr);
  SiftUp(heap_.size() - 1, &timer);
  if (when >= planned_) return false;
  planned_ = when;
  return true;
}

void TimerQueue::Cancel(Timer& timer) {
  MutexLock lock(mutex_);
  if (PLANTED(timer_not_disarmed)) return;
  if (timer.place.index >= 0) Remove(static_cast<size_t>(timer.place.index));
}

Time TimerQueue::Next() const {
  MutexLock lock(mutex_);
  return heap_.empty() ? kNever : heap_.front()->place.when;
}

Time TimerQueue::PlanSleep() {
  MutexLock lock(mutex_);
  planned_ = heap_.empty() ? kNever : heap_.front()->place.when;
  return planned_;
}

void TimerQueue::Expire(Time now, Expired& expired) {
  MutexLock lock(mutex_);
  while (!heap_.empty() && heap_.front()->place.when <= now) {
    Timer* timer = heap_.front();
    Remove(0);
    timer->OnExpire(expired);
  }
}

size_t TimerQueue::size() const {
  MutexLock lock(mutex_);
  return heap_.size();
}

void TimerQueue::Place(size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->place.index = static_cast<int64_t>(index);
}

void TimerQueue::SiftUp(size_t hole, Timer* timer) {
  while (hole > 0) {
    const size_t parent = (hole - 1) / 2;
    if (!Before(*timer, *heap_[parent])) break;
    Place(hole, heap_[parent]);
    hole = parent;
  }
  Place(hole, timer);
}

void TimerQueue::SiftDown(size_t hole, Timer* timer) {
  for (;;) {
    size_t child = 2 * hole + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Before(*heap_[child + 1], *heap_[child])) ++child;
    if (!Before(*heap_[child], *timer)) break;
    Place(hole, heap_[child]);
    hole = child;
  }
  Place(hole, timer);
}

void TimerQueue::Remove(size_t index) {
  Timer* removed = heap_[index];
  removed->place.index = -1;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == removed) return;
  if (index > 0 && Before(*last, *heap_[(index - 1) / 2])) {
    SiftUp(index, last);
  } else {
    SiftDown(index, last);
  }
}

}  // namespace nursery::internal
