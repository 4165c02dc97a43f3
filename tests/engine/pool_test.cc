#include "server/engine/pool.h"

#include <gtest/gtest.h>

#include <chrono>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/testing/seeds.h"

namespace nursery::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kHolders = 6;

Async<absl::Status> Hold(Context ctx, Pool* pool) {
  absl::StatusOr<PoolSlot> slot = co_await pool->Acquire(ctx, PoolRequest(5, 1));
  if (!slot.ok()) co_return slot.status();
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  co_return slept;
}

// Six that hold a slot for a second each; after half a second the pool has another size.
Async<absl::Status> HoldAndResize(Group& group, Pool* pool, int64_t slots, PoolStats* then) {
  for (int i = 0; i < kHolders; ++i) {
    absl::Status spawned = co_await group.Spawn("holder", Hold, pool);
    if (!spawned.ok()) co_return spawned;
  }
  absl::Status slept = co_await Sleep(group.context(), milliseconds(500));
  pool->Resize(slots);
  *then = pool->Stats();
  co_return slept;
}

SEEDED_TEST(PoolTest, MoreSlotsAreGivenToThoseWhoWait) {
  Pool pool("p", 1);
  PoolStats then;
  const Time start = ctx.Now();
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), HoldAndResize, &pool, int64_t{3}, &then);
  EXPECT_EQ(then.slots, 3);
  EXPECT_EQ(then.in_use, 3);
  EXPECT_EQ(then.waiting, 3);
  // 0 to 1, twice 0.5 to 1.5, then 1 to 2 and twice 1.5 to 2.5.
  EXPECT_EQ(ctx.Now() - start, milliseconds(2500));
  co_return result.status;
}

SEEDED_TEST(PoolTest, FewerSlotsTakeNothingAway) {
  Pool pool("p", 3);
  PoolStats then;
  const Time start = ctx.Now();
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), HoldAndResize, &pool, int64_t{1}, &then);
  EXPECT_EQ(then.slots, 1);
  EXPECT_EQ(then.in_use, 3);
  // Three at once, then one after the other.
  EXPECT_EQ(ctx.Now() - start, seconds(4));
  EXPECT_EQ(pool.Stats().in_use, 0);
  co_return result.status;
}

}  // namespace
}  // namespace nursery::engine
