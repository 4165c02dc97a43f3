// SchedulerStats: how long tasks wait for a thread, how long they keep one, and who kept one too
// long. Part of TaskStats; of the executors for tests it stays empty.
//
// One in 61 of the tasks that become runnable is timed, with the slice that follows: the histograms
// are a sample, whose shares count, not its numbers. Long slices are
// counted where two looks, some 10 ms apart, see them: up to that much of each is missed.
//
// Thread safety: plain values.
//
//   const SchedulerStats stats = executor.Stats().scheduler;
//   std::cerr << stats.long_slices << " slices kept their thread for more than 10 ms\n";
#ifndef NURSERY_CORE_SCHEDULER_STATS_H_
#define NURSERY_CORE_SCHEDULER_STATS_H_

#include <array>
#include <cstdint>
#include <ostream>
#include <string>

#include "nursery/core/clock.h"

namespace nursery {

// Counts of durations, each bucket twice as wide as the one before.
struct DurationHistogram {
  static constexpr int kBuckets = 26;  // the last one is for what is longer
  static constexpr Duration kFirstBound{256};

  // Of what is in bucket `index` no duration is longer: 256 ns, 512 ns, ... 4.3 s.
  static constexpr Duration UpperBound(int index) { return kFirstBound * (int64_t{1} << index); }

  std::array<int64_t, kBuckets> counts{};
  Duration sum{};
};

// A slice that is longer is a stall: other tasks of its thread wait for it.
inline constexpr Duration kLongSlice = std::chrono::milliseconds(10);
// One that is longer is named.
inline constexpr Duration kNamedStall = std::chrono::milliseconds(100);

// A task that keeps its scheduler thread: it computes without Yield, or blocks without RunBlocking.
struct Stall {
  uint64_t id = 0;
  std::string name;
  std::string at;          // FILE:LINE of the co_await before; empty: it has not come to one
  std::string spawned_at;  // FILE:LINE
  Duration length{};       // so far
};

// "task 7 NAME for 0.12s, at FILE:LINE, spawned at FILE:LINE".
std::ostream& operator<<(std::ostream& stream, const Stall& stall);

struct SchedulerStats {
  int threads = 0;
  DurationHistogram latency;  // from runnable to running
  DurationHistogram slices;   // from running until the task waits, yields or ends
  // Slices longer than kLongSlice, seen while they last, every 10 ms; and how long they lasted.
  int64_t long_slices = 0;
  Duration stalled{};
};

}  // namespace nursery

#endif  // NURSERY_CORE_SCHEDULER_STATS_H_
