#include "nursery/core/clock.h"

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <ctime>

namespace nursery {
namespace {

Time ReadClock(clockid_t id) {
  timespec now;
  clock_gettime(id, &now);
  return Time(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

class SteadyClock : public Clock {
 public:
  SteadyClock() : Clock(internal::kept_record_time) {}
  Time Now() const override { return ReadClock(CLOCK_MONOTONIC); }
  Time CoarseNow() const override { return ReadClock(CLOCK_MONOTONIC_COARSE); }
  WallTime WallNow() const override { return std::chrono::system_clock::now(); }
};

template <class... Args>
std::string Print(const char* format, Args... args) {
  char text[48];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

}  // namespace

const Clock& Clock::Steady() {
  static const SteadyClock clock;
  return clock;
}

// Of the kernel's coarse clock too, so that time does not go back when it is dropped.
void internal::KeepRecordTime() {
  kept_record_time.store(ReadClock(CLOCK_MONOTONIC_COARSE), std::memory_order_relaxed);
}

void internal::DropRecordTime() { kept_record_time.store(Time(), std::memory_order_relaxed); }

WallTime ToWall(const Clock& clock, Time time) {
  if (time == kNever) return WallTime::max();
  return clock.WallNow() + std::chrono::duration_cast<WallTime::duration>(time - clock.Now());
}

Time FromWall(const Clock& clock, WallTime wall) {
  if (wall == WallTime::max()) return kNever;
  return Later(clock.Now(), wall - clock.WallNow());
}

std::string FormatDuration(Duration duration) {
  if (duration < Duration::zero()) return "-" + FormatDuration(-duration);
  const int64_t nanos = duration.count();
  const int64_t seconds = nanos / 1'000'000'000;
  // In hundredths of a second such a time would be nothing but its rounding.
  if (nanos < 10'000'000) return Print("%.1fms", static_cast<double>(nanos) / 1e6);
  // Cut, not rounded: 59.999 s is no 60.00 s.
  if (seconds < 60) {
    return Print("%" PRId64 ".%02" PRId64 "s", seconds, nanos / 10'000'000 % 100);
  }
  if (seconds < 3600) return Print("%" PRId64 "m %" PRId64 "s", seconds / 60, seconds % 60);
  return Print("%" PRId64 "h %" PRId64 "m", seconds / 3600, seconds % 3600 / 60);
}

}  // namespace nursery
