#include "server/engine/finally.h"

#include <array>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/state_table.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

constexpr std::array kOutcomes = {Outcome::kSucceeded, Outcome::kFailed, Outcome::kCancelled,
                                  Outcome::kDeadlineExceeded, Outcome::kSkipped};

std::string Written(FinallyStep step) {
  switch (step) {
    case FinallyStep::kRuns:
      return "runs";
    case FinallyStep::kSkipped:
      return "skipped";
    case FinallyStep::kNotDue:
      return "not due";
  }
  return "?";
}

class FinallyTest : public testing::TestWithParam<TableRow> {};

TEST_P(FinallyTest, StepIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const Teardown teardown = row["teardown"] == "kill" ? Teardown::kKill : Teardown::kGraceful;
  EXPECT_EQ(Written(DecideFinally(row["started"] == "yes", teardown)), row["finally"]);
}

INSTANTIATE_TEST_SUITE_P(Architecture, FinallyTest, testing::ValuesIn(ReadTable("finally")),
                         RowName);

TEST(DecideFinallyTest, ArchitectureHasEveryEndWithBothTeardowns) {
  std::set<std::string> rows;
  for (const TableRow& row : ReadTable("finally")) {
    rows.insert(row["outcome"] + "/" + row["started"] + "/" + row["teardown"]);
  }
  for (const NodeStatus from : kNodeStatuses) {
    if (IsTerminal(from.state)) continue;
    const bool started = from.state != NodeState::kPending;
    for (int i = 0; i < kEventKinds; ++i) {
      const Outcome outcome = Next(from, static_cast<EventKind>(i)).next.outcome;
      if (outcome == Outcome::kUndecided) continue;
      for (const char* teardown : {"/graceful", "/kill"}) {
        const std::string row = std::string(Name(outcome)) + (started ? "/yes" : "/no") + teardown;
        EXPECT_TRUE(rows.contains(row)) << "no row " << row;
      }
    }
  }
}

class FinallyEndTest : public testing::TestWithParam<TableRow> {};

TEST_P(FinallyEndTest, OutcomeIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  NodeStatus status = {NodeState::kEnding, FromName<Outcome>(row["outcome before"], kOutcomes)};
  CauseKind cause = CauseKind::kNone;
  if (row["finally ended"] == "badly") {
    const Transition step = Next(status, EventKind::kFinallyFailed);
    ASSERT_NE(step.effect, Effect::kRefused);
    if (step.effect == Effect::kMoves) cause = CauseOf(EventKind::kFinallyFailed);
    status = step.next;
  }
  status = Next(status, EventKind::kGone).next;
  EXPECT_TRUE(IsTerminal(status.state));
  EXPECT_EQ(Name(status.outcome), row["outcome"]);
  EXPECT_EQ(Name(cause), row["cause"]);
}

INSTANTIATE_TEST_SUITE_P(Architecture, FinallyEndTest, testing::ValuesIn(ReadTable("finally-ends")),
                         RowName);

TEST(FinallyEndTest, ArchitectureHasEveryOutcomeEndedWellAndBadly) {
  std::set<std::string> rows;
  for (const TableRow& row : ReadTable("finally-ends")) {
    rows.insert(row["outcome before"] + " " + row["finally ended"]);
  }
  for (const Outcome outcome : kOutcomes) {
    if (outcome == Outcome::kSkipped) continue;  // never started
    EXPECT_TRUE(rows.contains(std::string(Name(outcome)) + " well"));
    EXPECT_TRUE(rows.contains(std::string(Name(outcome)) + " badly"));
  }
}

}  // namespace
}  // namespace nursery::engine
