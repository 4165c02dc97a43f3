// TimerDescriptor: becomes readable so long after it was made, without a timer of the executor.
#ifndef NURSERY_TESTS_CORE_TIMER_DESCRIPTOR_H_
#define NURSERY_TESTS_CORE_TIMER_DESCRIPTOR_H_

#include <sys/timerfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

#include "nursery/core/check.h"

namespace nursery {

class TimerDescriptor {
 public:
  explicit TimerDescriptor(std::chrono::milliseconds after)
      : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(after);
    const std::chrono::nanoseconds rest = after - seconds;
    const itimerspec when{.it_interval = {.tv_sec = 0, .tv_nsec = 0},
                          .it_value = {.tv_sec = seconds.count(), .tv_nsec = rest.count()}};
    NURSERY_CHECK(timerfd_settime(fd_, 0, &when, nullptr) == 0);
  }
  ~TimerDescriptor() { close(fd_); }
  TimerDescriptor(const TimerDescriptor&) = delete;
  TimerDescriptor& operator=(const TimerDescriptor&) = delete;

  int fd() const { return fd_; }
  // Blocks the thread until it is readable.
  void Read() const {
    uint64_t times = 0;
    NURSERY_CHECK(read(fd_, &times, sizeof times) == sizeof times);
  }

 private:
  const int fd_;
};

}  // namespace nursery

#endif  // NURSERY_TESTS_CORE_TIMER_DESCRIPTOR_H_
