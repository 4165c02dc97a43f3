// Clock: the only source of time. Time is steady: it never jumps and says nothing about the wall,
// whose time may jump and is only for what leaves the process.
//
// Thread safety: any thread.
//
//   const Time start = Clock::Steady().Now();
//   const Duration taken = Clock::Steady().Now() - start;
#ifndef NURSERY_CORE_CLOCK_H_
#define NURSERY_CORE_CLOCK_H_

#include <atomic>
#include <chrono>
#include <string>

namespace nursery {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::system_clock::time_point;

// "No deadline": later than every instant.
inline constexpr Time kNever = Time::max();

// `time + duration`, saturating at kNever.
constexpr Time Later(Time time, Duration duration) {
  return duration > kNever - time ? kNever : time + duration;
}

namespace internal {
// The time that is kept for RecordNow of the steady clock; Time(): nobody keeps it. Relaxed:
// nothing else follows from it.
inline constinit std::atomic<Time> kept_record_time{Time()};
// Of other clocks.
inline constinit const std::atomic<Time> no_record_time{Time()};
}  // namespace internal

class Clock {
 public:
  virtual ~Clock() = default;

  // Exact to the clock's resolution, about 25 ns.
  virtual Time Now() const = 0;
  // May lag by up to 4 ms, costs about 6 ns.
  virtual Time CoarseNow() const = 0;
  // May lag by 14 ms, on a machine without a core to spare by more, and mostly costs nothing: for
  // records and dumps. Nothing may be decided by it.
  Time RecordNow() const {
    const Time kept = kept_.load(std::memory_order_relaxed);
    return kept != Time() ? kept : CoarseNow();
  }

  // For what people and other machines read, never to measure with.
  virtual WallTime WallNow() const = 0;

  // The machine's clocks.
  static const Clock& Steady();

 protected:
  explicit Clock(const std::atomic<Time>& kept = internal::no_record_time) : kept_(kept) {}

 private:
  const std::atomic<Time>& kept_;
};

namespace internal {

// Lets RecordNow of the steady clock be no more than a load, in all of the process, until the time
// is dropped: for a thread that comes back every few milliseconds. Several may.
void KeepRecordTime();
void DropRecordTime();

}  // namespace internal

// The instant on the wall that `time` is, seen from now, and the reverse.
WallTime ToWall(const Clock& clock, Time time);
Time FromWall(const Clock& clock, WallTime wall);

// "0.4ms", "1.28s", "2m 12s", "3h 5m": at most two units, for people. A limit that somebody has
// set is shown as it was written instead: spec::FormatDuration.
std::string FormatDuration(Duration duration);

}  // namespace nursery

#endif  // NURSERY_CORE_CLOCK_H_
