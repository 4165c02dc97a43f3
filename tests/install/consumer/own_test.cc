// Tests that somebody else writes with the installed helpers.
#include <fcntl.h>

#include "nursery/core/sleep.h"
#include "nursery/testing/leak_check.h"
#include "nursery/testing/seeds.h"

namespace {

class OwnTest : public nursery::LeakFreeTest {};

SEEDED_TEST(OwnSeededTest, SleepsInVirtualTime) {
  const nursery::Time start = ctx.Now();
  absl::Status slept = co_await nursery::Sleep(ctx, std::chrono::hours(1));
  EXPECT_EQ(ctx.Now() - start, std::chrono::hours(1));
  co_return slept;
}

TEST_F(OwnTest, LeavesNothing) {
  nursery::ThreadExecutor executor(1);
  absl::Status status =
      executor.Run("root", [](nursery::Context ctx) -> nursery::Async<absl::Status> {
        co_return co_await nursery::Sleep(ctx, std::chrono::nanoseconds(1));
      });
  EXPECT_TRUE(status.ok()) << status;
}

// The binary fails, as it ends with a descriptor more.
TEST(OwnLeakTest, Leaks) { EXPECT_GE(open("/dev/null", O_RDONLY), 0); }

}  // namespace
