// Breather: long work of somebody who only looks, in pieces between which other threads may have
// the processor. Without it a thread that wants it waits until the time slice ends, 4 ms and more.
//
// Thread safety: one thread.
#ifndef NURSERY_CORE_INTERNAL_BREATHER_H_
#define NURSERY_CORE_INTERNAL_BREATHER_H_

#include <sched.h>

#include <chrono>
#include <cstdint>

#include "nursery/core/clock.h"

namespace nursery::internal {

class Breather {
 public:
  Breather() = default;

  // After each of many things that take well below a microsecond.
  void Step() {
    if (++steps_ % kSteps == 0) Breathe();
  }
  void Breathe() {
    if (Clock::Steady().Now() - piece_began_ < kPiece) return;
    sched_yield();
    piece_began_ = Clock::Steady().Now();
  }

 private:
  static constexpr uint32_t kSteps = 256;
  // Whoever gets the processor may keep it for several milliseconds: shorter pieces would take too
  // long together.
  static constexpr std::chrono::milliseconds kPiece{1};

  uint32_t steps_ = 0;
  Time piece_began_ = Clock::Steady().Now();
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_BREATHER_H_
