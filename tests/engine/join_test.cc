#include "server/engine/join.h"

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

constexpr std::array kOutcomes = {Outcome::kSucceeded, Outcome::kFailed, Outcome::kCancelled,
                                  Outcome::kDeadlineExceeded, Outcome::kSkipped};
constexpr std::array kCauses = {CauseKind::kNone,          CauseKind::kFailed,
                                CauseKind::kFinally,       CauseKind::kCancelled,
                                CauseKind::kDeadline,      CauseKind::kDrain,
                                CauseKind::kSiblingFailed, CauseKind::kGroupDecided,
                                CauseKind::kDependency,    CauseKind::kCondition};

// The values that a cell of a yes/no column stands for.
std::vector<bool> Choices(const std::string& cell, std::string_view yes) {
  if (cell == "*") return {false, true};
  return {cell == yes};
}

class ChildClassTest : public testing::TestWithParam<TableRow> {};

TEST_P(ChildClassTest, ClassIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  for (const bool allow_failure : Choices(row["allow_failure"], "yes")) {
    for (const bool after_failure : Choices(row["chain began with"], "failure")) {
      const ChildEnd end = {
          .outcome = FromName<Outcome>(row["outcome"], kOutcomes),
          .cause = FromName<CauseKind>(row["cause"], kCauses),
          .allow_failure = allow_failure,
          .counts_as = row["counts_as"] == "SKIPPED" ? CountsAs::kSkipped : CountsAs::kFailure,
          .after_failure = after_failure};
      EXPECT_EQ(Name(Classify(end)), row["class"]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architecture, ChildClassTest, testing::ValuesIn(ReadTable("child-ends")),
                         RowName);

TEST(ChildClassTest, ArchitectureHasARowForEveryWayToEnd) {
  std::set<std::pair<std::string, std::string>> rows;
  for (const TableRow& row : ReadTable("child-ends")) rows.emplace(row["outcome"], row["cause"]);
  for (const NodeStatus from : kNodeStatuses) {
    for (int i = 0; i < kEventKinds; ++i) {
      const auto event = static_cast<EventKind>(i);
      const Outcome outcome = Next(from, event).next.outcome;
      if (outcome == from.outcome) continue;
      EXPECT_EQ(rows.count({std::string(Name(outcome)), std::string(Name(CauseOf(event)))}), 1U)
          << Name(outcome) << " by " << Name(event);
    }
  }
}

spec::Join ParsePolicy(const TableRow& row) {
  using Policy = spec::Join::Policy;
  const std::vector<std::string> words = row.Words("policy");
  const std::string& kind = words.at(0);
  if (kind == "all") return {.policy = Policy::kAll};
  if (kind == "collect") return {.policy = Policy::kCollect};
  if (kind == "any") return {.policy = Policy::kAny};
  if (kind == "quorum") return {.policy = Policy::kQuorum, .count = std::stoi(words.at(1))};
  EXPECT_EQ(kind, "max_failures");
  if (!words.at(1).ends_with('%')) {
    return {.policy = Policy::kMaxFailures, .count = std::stoi(words.at(1))};
  }
  return {.policy = Policy::kMaxFailuresPercent, .percent = std::stod(words.at(1))};
}

ChildEnd ParseEnd(const std::string& word, uint32_t child) {
  ChildEnd end = {.child = child, .outcome = Outcome::kFailed, .cause = CauseKind::kFailed};
  if (word == "success") {
    end.outcome = Outcome::kSucceeded;
    end.cause = CauseKind::kNone;
  } else if (word == "tolerated") {
    end.allow_failure = true;
  } else if (word == "timeout") {
    end.outcome = Outcome::kDeadlineExceeded;
    end.cause = CauseKind::kDeadline;
  } else if (word == "cancelled" || word == "dropped") {
    end.outcome = Outcome::kCancelled;
    end.cause = CauseKind::kCancelled;
    end.counts_as = word == "dropped" ? CountsAs::kSkipped : CountsAs::kFailure;
  } else if (word == "derived" || word == "unneeded") {
    end.outcome = Outcome::kSkipped;
    end.cause = word == "derived" ? CauseKind::kDependency : CauseKind::kCondition;
    end.after_failure = word == "derived";
  } else {
    EXPECT_EQ(word, "failure");
  }
  return end;
}

class JoinTest : public testing::TestWithParam<TableRow> {};

TEST_P(JoinTest, DecisionIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  JoinAccounting join(ParsePolicy(row), static_cast<uint32_t>(std::stoul(row["children"])));
  std::optional<JoinDecision> decision = join.OnOpened();
  uint32_t ended = 0;
  for (const std::string& word : row.Words("ends")) {
    ASSERT_FALSE(decision) << "decided by end " << ended << ", before the row says";
    decision = join.OnChildEnded(ParseEnd(word, ended));
    ++ended;
  }
  ASSERT_TRUE(decision);
  EXPECT_TRUE(join.decided());
  EXPECT_EQ(std::to_string(ended), row["at"]);
  EXPECT_EQ(Name(decision->outcome), row["outcome"]);
  EXPECT_EQ(decision->child ? std::to_string(*decision->child + 1) : "-", row["child"]);
  EXPECT_EQ(Name(decision->siblings), row["remaining get"]);
  const Transition step = Next({NodeState::kRunning, Outcome::kUndecided}, decision->event);
  EXPECT_EQ(step.next, (NodeStatus{NodeState::kEnding, decision->outcome}));
}

TEST_P(JoinTest, EndsAfterTheDecisionChangeNothing) {
  const TableRow& row = GetParam();
  const auto children = static_cast<uint32_t>(std::stoul(row["children"]));
  JoinAccounting join(ParsePolicy(row), children);
  join.OnOpened();
  uint32_t ended = 0;
  for (const std::string& word : row.Words("ends")) join.OnChildEnded(ParseEnd(word, ended++));
  for (; ended < children; ++ended) {
    EXPECT_FALSE(join.all_ended());
    EXPECT_FALSE(join.OnChildEnded(ParseEnd(ended % 2 == 0 ? "success" : "failure", ended)));
  }
  EXPECT_TRUE(join.all_ended());
}

INSTANTIATE_TEST_SUITE_P(Architecture, JoinTest, testing::ValuesIn(ReadTable("joins")), RowName);

TEST(JoinAccountingTest, ArchitectureHasEveryPolicyWithEveryEndAndEmpty) {
  std::set<std::string> policies;
  std::set<std::pair<std::string, std::string>> pairs;
  for (const TableRow& row : ReadTable("joins")) {
    const std::string kind = row.Words("policy").at(0);
    policies.insert(kind);
    if (row["children"] == "0") pairs.emplace(kind, "none");
    for (const std::string& word : row.Words("ends")) pairs.emplace(kind, word);
  }
  EXPECT_EQ(policies, (std::set<std::string>{"all", "any", "collect", "max_failures", "quorum"}));
  for (const std::string& policy : policies) {
    std::vector<std::string> ends = {"none",    "success",   "failure", "tolerated",
                                     "timeout", "cancelled", "dropped"};
    // Groups of these two policies have no `needs`, hence no end that comes from them.
    if (policy != "any" && policy != "quorum") ends.insert(ends.end(), {"derived", "unneeded"});
    for (const std::string& end : ends) {
      EXPECT_TRUE(pairs.contains({policy, end})) << "no row of " << policy << " with " << end;
    }
  }
}

TEST(JoinAccountingTest, AClosedGroupDecidesNothing) {
  JoinAccounting join({.policy = spec::Join::Policy::kAny}, 2);
  join.Close();
  EXPECT_TRUE(join.decided());
  EXPECT_FALSE(join.OnOpened());
  EXPECT_FALSE(join.OnChildEnded(ParseEnd("success", 0)));
  EXPECT_FALSE(join.OnChildEnded(ParseEnd("success", 1)));
  EXPECT_TRUE(join.all_ended());
  EXPECT_EQ(join.counts().success, 0U);
}

TEST(JoinAccountingTest, CountsEachClass) {
  JoinAccounting join({.policy = spec::Join::Policy::kCollect}, 5);
  for (const char* word : {"success", "failure", "derived", "unneeded"}) {
    join.OnChildEnded(ParseEnd(word, 0));
  }
  EXPECT_EQ(join.counts().success, 1U);
  EXPECT_EQ(join.counts().failure, 1U);
  EXPECT_EQ(join.counts().derived, 1U);
  EXPECT_EQ(join.counts().neutral, 1U);
}

TEST(JoinAccountingTest, ASharePerHundredIsNotLostToRounding) {
  JoinAccounting join({.policy = spec::Join::Policy::kMaxFailuresPercent, .percent = 0.29}, 10'000);
  for (uint32_t i = 0; i < 29; ++i) ASSERT_FALSE(join.OnChildEnded(ParseEnd("failure", i)));
  EXPECT_EQ(join.OnChildEnded(ParseEnd("failure", 29))->outcome, Outcome::kFailed);
}

TEST(JoinAccountingDeathTest, AnEndTooManyIsABug) {
  JoinAccounting join({.policy = spec::Join::Policy::kAll}, 1);
  join.OnChildEnded(ParseEnd("success", 0));
  EXPECT_DEATH(join.OnChildEnded(ParseEnd("success", 0)), "ended twice");
}

}  // namespace
}  // namespace nursery::engine
