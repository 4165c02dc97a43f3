#include "server/engine/output_tap.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/engine/limits.h"
#include "server/engine/node.h"

namespace nursery::engine {
namespace {

// A node whose attempts write what the test says.
class OutputTapTest : public testing::Test {
 protected:
  OutputTapTest() {
    spec_.name = "n";
    spec_.parent = 0;
  }

  std::shared_ptr<Output> Write(const std::string& text) {
    auto output = std::make_shared<Output>(/*keep_whole=*/false, kOutputSpool);
    output->Append(text);
    Activity& activity = node_.MutableActivity();
    ++activity.output_attempt;
    activity.output = output;
    activity.errors = output;
    return output;
  }
  static std::string Text(const std::vector<TappedPiece>& pieces) {
    std::string text;
    for (const TappedPiece& piece : pieces) text += piece.piece.data;
    return text;
  }
  bool Rung() const { return bell_.second.TryReceive().ok(); }

  spec::Node root_spec_;
  spec::Node spec_;
  Node root_{root_spec_, nullptr};
  Node node_{spec_, &root_};
  const std::pair<BellSender, BellReceiver> bell_ = MakeChannel<Tick>(1);
};

TEST_F(OutputTapTest, OfFailedAttemptsTellsNothingElse) {
  OutputTap tap(OutputTap::Of::kFailed, bell_.first);
  Write("good");
  tap.OnStarted(node_);
  tap.OnEnded(node_, v1::ATTEMPT_STATE_SUCCEEDED);
  Write("cancelled");
  tap.OnEnded(node_, v1::ATTEMPT_STATE_CANCELLED);
  EXPECT_FALSE(Rung());
  Write("bad");
  tap.OnEnded(node_, v1::ATTEMPT_STATE_FAILED);
  EXPECT_TRUE(Rung());
  Write(" late");
  tap.OnEnded(node_, v1::ATTEMPT_STATE_TIMED_OUT);
  const std::vector<TappedPiece> pieces = tap.Take(1000);
  EXPECT_EQ(Text(pieces), "bad late");
  EXPECT_EQ(pieces[0].path, "n");
  EXPECT_EQ(pieces[0].attempt, 3);
  EXPECT_TRUE(tap.Take(1000).empty());
}

TEST_F(OutputTapTest, OfAllRingsWhileTheyWrite) {
  OutputTap tap(OutputTap::Of::kAll, bell_.first);
  const std::shared_ptr<Output> output = Write("one ");
  tap.OnStarted(node_);
  EXPECT_EQ(Text(tap.Take(1000)), "one ");
  output->Append("two");
  EXPECT_TRUE(Rung());
  tap.OnEnded(node_, v1::ATTEMPT_STATE_SUCCEEDED);
  EXPECT_EQ(Text(tap.Take(1000)), "two");
  EXPECT_TRUE(tap.Take(1000).empty());
}

TEST_F(OutputTapTest, WhatIsLeftOutIsCounted) {
  OutputTap tap(OutputTap::Of::kAll, bell_.first);
  const std::shared_ptr<Output> running = Write("still running");
  tap.OnStarted(node_);
  constexpr size_t kAttempts = 2 * kMaxTapped;
  for (size_t i = 0; i < kAttempts; ++i) {
    Write("1234567890");
    tap.OnStarted(node_);
    tap.OnEnded(node_, v1::ATTEMPT_STATE_SUCCEEDED);
  }
  size_t bytes = 0;
  int64_t gaps = 0;
  std::vector<TappedPiece> pieces = tap.Take(100'000);
  EXPECT_EQ(pieces[0].attempt, 0);
  for (const TappedPiece& piece : pieces) {
    bytes += piece.piece.data.size();
    gaps += piece.gap;
  }
  EXPECT_EQ(bytes + static_cast<size_t>(gaps), 10 * kAttempts + 13);
  EXPECT_NE(Text(pieces).find("still running"), std::string::npos);
}

TEST_F(OutputTapTest, ClosedHoldsNothing) {
  OutputTap tap(OutputTap::Of::kAll, bell_.first);
  const std::weak_ptr<Output> output = Write("text");
  tap.OnStarted(node_);
  tap.Close();
  node_.EndActivity();
  node_.MutableActivity() = Activity();
  EXPECT_TRUE(output.expired());
  Write("more");
  tap.OnEnded(node_, v1::ATTEMPT_STATE_FAILED);
  EXPECT_TRUE(tap.Take(1000).empty());
}

}  // namespace
}  // namespace nursery::engine
