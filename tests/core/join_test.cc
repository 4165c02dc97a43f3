#include "nursery/core/join.h"

#include <gtest/gtest.h>

#include "nursery/core/status.h"

namespace nursery::internal {
namespace {

const absl::Status kBoom = Error(absl::StatusCode::kDataLoss, "boom");

TEST(JoinStateTest, DecidesOnceAndTellsTheOthersWhy) {
  JoinState all(Join::All());
  EXPECT_FALSE(all.OnTaskEnded("a", absl::OkStatus(), absl::OkStatus).has_value());
  std::optional<Cause> decision = all.OnTaskEnded("b", kBoom, absl::OkStatus);
  ASSERT_TRUE(decision.has_value());
  EXPECT_EQ(decision->kind, CauseKind::kSiblingFailed);
  EXPECT_EQ(decision->status, Error(absl::StatusCode::kCancelled, "sibling b failed: boom"));
  EXPECT_FALSE(all.OnTaskEnded("c", kBoom, absl::OkStatus).has_value()) << "decided twice";
}

// What ends because it was told to is no error; what fails by itself at that moment is kept.
TEST(JoinStateTest, ErrorsAfterTheDecisionAreKeptCancellationsAreNot) {
  JoinState all(Join::All());
  std::optional<Cause> decision = all.OnTaskEnded("a", kBoom, absl::OkStatus);
  all.OnTaskEnded("b", decision->status, absl::OkStatus);
  all.OnTaskEnded("c", Error(absl::StatusCode::kUnavailable, "own trouble"), absl::OkStatus);
  GroupResult result = all.TakeResult();
  EXPECT_EQ(result.status, kBoom);
  EXPECT_EQ(result.cancelled, 1);
  ASSERT_EQ(result.errors.size(), 2u);
  EXPECT_EQ(result.errors[1].task, "c");
}

// However many failures of their own the tasks had, and whichever came first.
TEST(JoinStateTest, WhatEndsFromOutsideIsNoFailure) {
  const absl::Status told = Error(absl::StatusCode::kDeadlineExceeded, "deadline of test passed");
  const auto outside = [&]() -> const absl::Status& { return told; };
  JoinState many(Join::MaxFailures(100));
  for (int i = 0; i < 80; ++i) many.OnTaskEnded("own", kBoom, absl::OkStatus);
  many.OnTaskEnded("cut", Annotate(told, "inner"), outside);
  many.OnTaskEnded("own", kBoom, outside);
  const GroupResult cut = many.TakeResult();
  EXPECT_EQ(cut.status, told);
  EXPECT_EQ(cut.error_count, 81);
  EXPECT_EQ(cut.cancelled, 1);
  JoinState one(Join::MaxFailures(1));
  one.OnTaskEnded("cut", told, outside);
  EXPECT_FALSE(one.OnTaskEnded("own", kBoom, outside).has_value());
  EXPECT_TRUE(one.OnTaskEnded("own", kBoom, outside).has_value());
  one.OnTaskEnded("cut", told, outside);
  const GroupResult decided = one.TakeResult();
  EXPECT_EQ(decided.status, kBoom) << "decided by the second failure";
  EXPECT_EQ(decided.error_count, 2);
  EXPECT_EQ(decided.cancelled, 2);
}

TEST(JoinStateTest, WhoOnlyEndsWithTheSameWordsHasAnErrorOfItsOwn) {
  for (const char* words : {"", "stop"}) {
    JoinState all(Join::All());
    const absl::Status told = Error(absl::StatusCode::kCancelled, words);
    EXPECT_TRUE(all.OnStopped(told).has_value());
    const absl::Status own = Error(absl::StatusCode::kCancelled, "peer said full stop");
    all.OnTaskEnded("own", own, absl::OkStatus);
    all.OnTaskEnded("told", told, absl::OkStatus);
    all.OnTaskEnded("told", Annotate(Annotate(told, "inner"), "outer"), absl::OkStatus);
    const GroupResult result = all.TakeResult();
    EXPECT_EQ(result.error_count, 1);
    EXPECT_EQ(result.cancelled, 2);
  }
}

TEST(JoinStateTest, QuorumKnowsWhenItCannotBeReached) {
  JoinState quorum(Join::Quorum(3));
  EXPECT_FALSE(quorum.OnRemaining(3).has_value());
  EXPECT_FALSE(quorum.OnTaskEnded("a", kBoom, absl::OkStatus).has_value());
  std::optional<Cause> decision = quorum.OnRemaining(2);
  ASSERT_TRUE(decision.has_value());
  EXPECT_EQ(quorum.TakeResult().status, Annotate(kBoom, "0 of the required 3 tasks succeeded"));
}

}  // namespace
}  // namespace nursery::internal
