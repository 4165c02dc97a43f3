// RunQueue: the runnable tasks of one worker: a ring, and in front of it a place for the task that
// was woken last, whose data are warm. The owner pushes and pops; other workers steal from the ring
// half of what it holds, and what is next only when the owner does not come to run it. The ring is
// that of Go's scheduler (runtime/proc.go, runqput, runqgrab).
//
// Where there is no other worker nobody steals, and the owner needs no atomic exchange.
//
// Thread safety: what is marked "owner" only from the owner's thread; the rest from any.
#ifndef NURSERY_CORE_INTERNAL_RUN_QUEUE_H_
#define NURSERY_CORE_INTERNAL_RUN_QUEUE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "nursery/core/task.h"

namespace nursery::internal {

class RunQueue {
 public:
  RunQueue() = default;
  RunQueue(const RunQueue&) = delete;
  RunQueue& operator=(const RunQueue&) = delete;

  // Before it is used: nobody but the owner will take a task from it.
  void KeepAll() { keeps_all_ = true; }

  // Owner. The task that runs next; gives back the one that it displaces.
  TaskRecord* PushNext(TaskRecord* task) { return SwapNext(task, std::memory_order_seq_cst); }
  // Any thread.
  bool has_next() const { return next_.load(std::memory_order_relaxed) != nullptr; }
  TaskRecord* PopNext() {
    if (!has_next()) return nullptr;
    return SwapNext(nullptr, std::memory_order_acq_rel);
  }

  // Owner. False: full. Sequentially consistent, as PushNext: who looks afterwards whether anybody
  // sleeps needs no fence, which would cost three times as much.
  bool PushBack(TaskRecord* task) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) >= kCapacity) return false;
    At(tail).store(task, std::memory_order_relaxed);
    Publish(tail + 1);
    return true;
  }
  // Owner. The first of `tasks`, `most` at most, as far as there is room; how many.
  uint32_t PushSome(WakeList& tasks, uint32_t most) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    most = std::min(most, kCapacity - (tail - head_.load(std::memory_order_acquire)));
    uint32_t count = 0;
    for (; count < most && !tasks.empty(); ++count) {
      At(tail + count).store(tasks.Pop(), std::memory_order_relaxed);
    }
    if (count > 0) Publish(tail + count);
    return count;
  }
  TaskRecord* PopFront() {
    uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      if (head == tail_.load(std::memory_order_acquire)) return nullptr;
      TaskRecord* const task = At(head).load(std::memory_order_relaxed);
      if (keeps_all_) {
        head_.store(head + 1, std::memory_order_release);
        return task;
      }
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel)) return task;
    }
  }

  // Owner of this queue, whose ring is empty. Takes half of the victim's ring and gives the last of
  // it to run; null: there was nothing.
  TaskRecord* StealFrom(RunQueue& victim) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    uint32_t head = victim.head_.load(std::memory_order_acquire);
    for (;;) {
      const uint32_t size = victim.tail_.load(std::memory_order_acquire) - head;
      const uint32_t half = size - size / 2;
      if (half == 0) return nullptr;
      if (half > kCapacity / 2) {  // the two were not read at one instant
        head = victim.head_.load(std::memory_order_acquire);
        continue;
      }
      for (uint32_t i = 0; i < half; ++i) {
        At(tail + i).store(victim.At(head + i).load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
      }
      if (!victim.head_.compare_exchange_weak(head, head + half, std::memory_order_acq_rel)) {
        continue;
      }
      tail_.store(tail + half - 1, std::memory_order_release);
      return At(tail + half - 1).load(std::memory_order_relaxed);
    }
  }

  // Owner. Changes with each PushBack, by one.
  uint32_t pushes() const { return tail_.load(std::memory_order_relaxed); }

  // Of the ring.
  uint32_t size() const {
    return tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_acquire);
  }

 private:
  static constexpr uint32_t kCapacity = 256;

  std::atomic<TaskRecord*>& At(uint32_t index) { return ring_[index % kCapacity]; }
  void Publish(uint32_t tail) {
    if (keeps_all_) {
      tail_.store(tail, std::memory_order_release);
    } else {
      tail_.exchange(tail, std::memory_order_seq_cst);
    }
  }
  TaskRecord* SwapNext(TaskRecord* task, std::memory_order order) {
    if (!keeps_all_) return next_.exchange(task, order);
    TaskRecord* const before = next_.load(std::memory_order_relaxed);
    next_.store(task, std::memory_order_release);
    return before;
  }

  bool keeps_all_ = false;
  std::atomic<TaskRecord*> next_{nullptr};
  std::atomic<uint32_t> head_{0};
  std::atomic<uint32_t> tail_{0};
  std::array<std::atomic<TaskRecord*>, kCapacity> ring_{};
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_RUN_QUEUE_H_
