#include "nursery/core/status.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "nursery/core/check.h"
#include "nursery/core/clock.h"

namespace nursery {
namespace {

TEST(StatusTest, MessagesPassBetweenTheLibraries) {
  const absl::Status status = Error(absl::StatusCode::kNotFound, "no such file");
  EXPECT_EQ(Message(status), "no such file");
  EXPECT_EQ(Message(Annotate(status, "open")), "open: no such file");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "open").ok());
}

TEST(StatusTest, TheLastOneToLetGoEndsIt) {
  absl::Status kept = Error(absl::StatusCode::kInternal, "shared");
  std::atomic<bool> let_go = false;  // relaxed: nothing but the status itself orders the threads
  std::thread other([copy = kept, &let_go]() mutable {
    {
      const absl::Status another = copy;
    }
    copy = absl::OkStatus();
    let_go.store(true, std::memory_order_relaxed);
  });
  while (!let_go.load(std::memory_order_relaxed)) sched_yield();
  kept = absl::OkStatus();
  other.join();
}

TEST(StatusTest, CodesHaveTheirCanonicalNames) {
  for (int code = 0; code <= 16; ++code) {
    const auto value = static_cast<absl::StatusCode>(code);
    EXPECT_EQ(std::string(CodeName(value)), absl::StatusCodeToString(value));
  }
}

TEST(StatusTest, ErrnoKeepsItsMeaning) {
  EXPECT_EQ(ErrnoError(ENOENT, "open x"),
            Error(absl::StatusCode::kNotFound, "open x: No such file or directory"));
  EXPECT_TRUE(absl::IsResourceExhausted(ErrnoError(EMFILE, "pipe")));
}

TEST(CheckDeathTest, NamesPlaceExpressionAndMessage) {
  EXPECT_DEATH(NURSERY_CHECK(1 + 1 == 3) << "arithmetic",
               "status_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3 arithmetic");
}

TEST(ClockTest, DurationsAreForPeople) {
  using namespace std::chrono_literals;
  EXPECT_EQ(FormatDuration(400us), "0.4ms");
  EXPECT_EQ(FormatDuration(850ms), "0.85s");
  EXPECT_EQ(FormatDuration(1280ms), "1.28s");
  EXPECT_EQ(FormatDuration(59'999ms), "59.99s");
  EXPECT_EQ(FormatDuration(10min), "10m 0s");
  EXPECT_EQ(FormatDuration(132s), "2m 12s");
  EXPECT_EQ(FormatDuration(3h + 5min), "3h 5m");
  EXPECT_EQ(FormatDuration(-2s), "-2.00s");
}

TEST(ClockTest, LaterSaturates) {
  EXPECT_EQ(Later(kNever, std::chrono::seconds(1)), kNever);
  EXPECT_EQ(Later(Time(), Duration::max()), kNever);
}

}  // namespace
}  // namespace nursery
