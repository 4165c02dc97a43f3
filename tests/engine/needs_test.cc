#include "server/engine/needs.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

using spec::When;

constexpr std::array kWhens = {When::kSuccess, When::kFailure, When::kAlways};

std::string_view Name(When when) {
  switch (when) {
    case When::kSuccess:
      return "success";
    case When::kFailure:
      return "failure";
    case When::kAlways:
      return "always";
  }
  return "?";
}

When ParseWhen(const TableRow& row) {
  const auto* when = std::find_if(kWhens.begin(), kWhens.end(),
                                  [&](When candidate) { return Name(candidate) == row["when"]; });
  EXPECT_NE(when, kWhens.end()) << row["when"];
  return *when;
}

constexpr std::array kClasses = {ChildClass::kSuccess, ChildClass::kFailure, ChildClass::kDerived,
                                 ChildClass::kNeutral};

std::vector<NeedEnd> ParseNeeds(const TableRow& row) {
  std::vector<NeedEnd> needs;
  for (const std::string& word : row.Words("needs")) {
    needs.push_back(word == "running" ? NeedEnd() : FromName<ChildClass>(word, kClasses));
  }
  return needs;
}

class NeedsTest : public testing::TestWithParam<TableRow> {};

TEST_P(NeedsTest, DecisionIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const NeedsDecision decision = DecideNeeds(ParseWhen(row), ParseNeeds(row));
  EXPECT_EQ(Name(decision.readiness), row["decision"]);
  if (decision.readiness != Readiness::kSkipped) return;
  EXPECT_EQ(Name(decision.event), row["event"]);
  EXPECT_EQ(decision.after_failure ? "failure" : "other", row["chain"]);
  EXPECT_EQ(Next(kNodeStatuses[0], decision.event).next.state, NodeState::kSkipped);
}

TEST_P(NeedsTest, OrderOfTheNeedsDoesNotMatter) {
  const auto when = ParseWhen(GetParam());
  const std::vector<NeedEnd> needs = ParseNeeds(GetParam());
  const NeedsDecision forward = DecideNeeds(when, needs);
  const NeedsDecision backward = DecideNeeds(when, std::vector(needs.rbegin(), needs.rend()));
  EXPECT_EQ(backward.readiness, forward.readiness);
  EXPECT_EQ(backward.after_failure, forward.after_failure);
}

INSTANTIATE_TEST_SUITE_P(Architecture, NeedsTest, testing::ValuesIn(ReadTable("needs")), RowName);

TEST(DecideNeedsTest, ArchitectureHasEveryWhenWithEveryNeed) {
  std::set<std::pair<std::string, std::string>> rows;
  for (const TableRow& row : ReadTable("needs")) rows.emplace(row["when"], row["needs"]);
  for (const When when : kWhens) {
    std::vector<std::string> needs = {"", "running"};
    for (const ChildClass end : kClasses) needs.emplace_back(Name(end));
    for (const std::string& need : needs) {
      EXPECT_TRUE(rows.contains({std::string(Name(when)), need}))
          << "no row of when: " << Name(when) << " with '" << need << "'";
    }
  }
}

// What a skipped node passes on is what its own dependents decide by.
TEST(DecideNeedsTest, ASkippedChainKeepsHowItBegan) {
  for (const ChildClass began : {ChildClass::kFailure, ChildClass::kNeutral}) {
    NeedEnd need = began;
    for (int link = 0; link < 3; ++link) {
      const NeedsDecision decision = DecideNeeds(When::kSuccess, {&need, 1});
      ASSERT_EQ(decision.readiness, Readiness::kSkipped);
      need = Classify({.outcome = Outcome::kSkipped,
                       .cause = CauseOf(decision.event),
                       .after_failure = decision.after_failure});
    }
    EXPECT_EQ(need, began == ChildClass::kFailure ? ChildClass::kDerived : ChildClass::kNeutral);
  }
}

}  // namespace
}  // namespace nursery::engine
