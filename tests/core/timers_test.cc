#include "nursery/core/internal/timers.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <vector>

namespace nursery::internal {
namespace {

constexpr int kTimers = 1'000'000;

class NotingTimer final : public Timer {
 public:
  explicit NotingTimer(std::vector<const NotingTimer*>& expired) : expired_(expired) {}
  void OnExpire(Expired&) override { expired_.push_back(this); }

 private:
  std::vector<const NotingTimer*>& expired_;
};

TEST(TimerQueueTest, OfAMillionEachThatIsNotCancelledExpiresOnceAndInOrder) {
  std::vector<const NotingTimer*> expired;
  std::deque<NotingTimer> timers;
  TimerQueue queue;
  std::minstd_rand dice(1);
  for (int i = 0; i < kTimers; ++i) {
    // Many at the same instant, which expire as they were armed.
    queue.Add(timers.emplace_back(expired), Time(std::chrono::nanoseconds(dice() % 100'000)));
  }
  int cancelled = 0;
  for (NotingTimer& timer : timers) {
    if (dice() % 2 == 0) continue;
    queue.Cancel(timer);
    ++cancelled;
  }
  EXPECT_EQ(queue.size(), static_cast<size_t>(kTimers - cancelled));
  Expired none;
  for (int at = 0; at < 100'000; at += 1000) {
    const size_t before = expired.size();
    const Time now(std::chrono::nanoseconds{at + 999});
    queue.Expire(now, none);
    for (size_t i = before; i < expired.size(); ++i) ASSERT_LE(expired[i]->place.when, now);
    ASSERT_GT(queue.Next(), now);
  }
  ASSERT_EQ(expired.size(), static_cast<size_t>(kTimers - cancelled));
  EXPECT_EQ(queue.size(), 0u);
  for (size_t i = 1; i < expired.size(); ++i) {
    const Timer::Place& one = expired[i - 1]->place;
    const Timer::Place& next = expired[i]->place;
    ASSERT_TRUE(one.when < next.when || (one.when == next.when && one.sequence < next.sequence));
  }
}

}  // namespace
}  // namespace nursery::internal
