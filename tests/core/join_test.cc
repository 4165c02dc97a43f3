#include "nursery/core/join.h"

#include <gtest/gtest.h>

#include "nursery/core/status.h"

namespace nursery::internal {
namespace {

const absl::Status kBoom = Error(absl::StatusCode::kDataLoss, "boom");

TEST(JoinStateTest, DecidesOnceAndTellsTheOthersWhy) {
  JoinState all(Join::All());
  EXPECT_FALSE(all.OnTaskEnded("a", absl::OkStatus()).has_value());
  std::optional<Cause> decision = all.OnTaskEnded("b", kBoom);
  ASSERT_TRUE(decision.has_value());
  EXPECT_EQ(decision->kind, CauseKind::kSiblingFailed);
  EXPECT_EQ(decision->status, Error(absl::StatusCode::kCancelled, "sibling b failed: boom"));
  EXPECT_FALSE(all.OnTaskEnded("c", kBoom).has_value()) << "decided twice";
}

// What ends because it was told to is no error; what fails by itself at that moment is kept.
TEST(JoinStateTest, ErrorsAfterTheDecisionAreKeptCancellationsAreNot) {
  JoinState all(Join::All());
  std::optional<Cause> decision = all.OnTaskEnded("a", kBoom);
  all.OnTaskEnded("b", decision->status);
  all.OnTaskEnded("c", Error(absl::StatusCode::kUnavailable, "own trouble"));
  GroupResult result = all.TakeResult(absl::OkStatus);
  EXPECT_EQ(result.status, kBoom);
  EXPECT_EQ(result.cancelled, 1);
  ASSERT_EQ(result.errors.size(), 2u);
  EXPECT_EQ(result.errors[1].task, "c");
}

TEST(JoinStateTest, QuorumKnowsWhenItCannotBeReached) {
  JoinState quorum(Join::Quorum(3));
  EXPECT_FALSE(quorum.OnRemaining(3).has_value());
  EXPECT_FALSE(quorum.OnTaskEnded("a", kBoom).has_value());
  std::optional<Cause> decision = quorum.OnRemaining(2);
  ASSERT_TRUE(decision.has_value());
  EXPECT_EQ(quorum.TakeResult(absl::OkStatus).status,
            Annotate(kBoom, "0 of the required 3 tasks succeeded"));
}

}  // namespace
}  // namespace nursery::internal
