#include "server/engine/state_table.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

std::vector<EventKind> AllEvents() {
  std::vector<EventKind> events;
  for (int i = 0; i < kEventKinds; ++i) events.push_back(static_cast<EventKind>(i));
  return events;
}

// The status as ARCHITECTURE.md writes it: "RUNNING", "ENDING(S)".
std::string Written(NodeStatus status) {
  std::string text(Name(status.state));
  if (status.state == NodeState::kEnding) text += std::string("(") + Name(status.outcome)[0] + ")";
  return text;
}

std::string Written(const Transition& transition) {
  switch (transition.effect) {
    case Effect::kMoves:
      return Written(transition.next);
    case Effect::kIgnored:
      return "-";
    case Effect::kRefused:
      return "!";
  }
  return "?";
}

// One cell of the table: a status, an event, and what is written there.
struct Cell {
  NodeStatus from;
  EventKind event;
  std::string expected;
};

void PrintTo(const Cell& cell, std::ostream* out) {
  *out << Name(cell.event) << " in " << Written(cell.from) << ": " << cell.expected;
}

std::vector<Cell> Cells() {
  std::vector<Cell> cells;
  for (const TableRow& row : ReadTable("states")) {
    const auto event = FromName<EventKind>(row["event"], AllEvents());
    for (const NodeStatus from : kNodeStatuses) {
      cells.push_back({from, event, row[Written(from)]});
    }
  }
  return cells;
}

std::string CellName(const testing::TestParamInfo<Cell>& info) {
  std::string name = std::string(Name(info.param.event)) + "_in_" + Written(info.param.from);
  std::replace(name.begin(), name.end(), '(', '_');
  std::erase(name, ')');
  return name;
}

class StateCellTest : public testing::TestWithParam<Cell> {};

TEST_P(StateCellTest, NextIsWhatArchitectureSays) {
  const Transition transition = Next(GetParam().from, GetParam().event);
  EXPECT_EQ(Written(transition), GetParam().expected);
  if (transition.effect != Effect::kMoves) {
    EXPECT_EQ(transition.next, GetParam().from);
  }
}

INSTANTIATE_TEST_SUITE_P(Architecture, StateCellTest, testing::ValuesIn(Cells()), CellName);

class StateEventTest : public testing::TestWithParam<TableRow> {};

TEST_P(StateEventTest, CauseAndEventBelowAreWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const auto event = FromName<EventKind>(row["event"], AllEvents());
  EXPECT_EQ(Name(CauseOf(event)), row["cause"]);
  const std::optional<EventKind> below = EventBelow(event);
  EXPECT_EQ(below ? Name(*below) : "-", row["below it"]);
}

INSTANTIATE_TEST_SUITE_P(Architecture, StateEventTest, testing::ValuesIn(ReadTable("states")),
                         [](const auto& info) { return info.param["event"]; });

TEST(StateTableTest, ArchitectureHasEveryPairOnce) {
  std::set<std::pair<std::string, std::string>> pairs;
  for (const Cell& cell : Cells()) {
    const bool added = pairs.emplace(Name(cell.event), Written(cell.from)).second;
    EXPECT_TRUE(added) << testing::PrintToString(cell);
  }
  EXPECT_EQ(pairs.size(), kEventKinds * kNodeStatuses.size());
  const size_t columns = ReadTable("states").front().cells().size();
  EXPECT_EQ(columns, 3 + kNodeStatuses.size()) << "a column that is no status";
}

// The following hold for the table as such, whatever a cell says.

TEST(StateTableTest, NothingLeavesAnEnd) {
  for (const NodeStatus from : kNodeStatuses) {
    if (!IsTerminal(from.state)) continue;
    for (const EventKind event : AllEvents()) {
      EXPECT_NE(Next(from, event).effect, Effect::kMoves) << Written(from) << " " << Name(event);
    }
  }
}

TEST(StateTableTest, ADecidedOutcomeChangesOnlyFromSuccessByAFailedFinally) {
  for (const NodeStatus from : kNodeStatuses) {
    if (from.outcome == Outcome::kUndecided) continue;
    for (const EventKind event : AllEvents()) {
      if (Next(from, event).next.outcome == from.outcome) continue;
      EXPECT_EQ(event, EventKind::kFinallyFailed);
      EXPECT_EQ(from, (NodeStatus{NodeState::kEnding, Outcome::kSucceeded}));
    }
  }
}

TEST(StateTableTest, WhatStartedIsNeverSkippedAndEndsThroughEnding) {
  for (const EventKind event : AllEvents()) {
    const Transition step = Next({NodeState::kRunning, Outcome::kUndecided}, event);
    EXPECT_FALSE(IsTerminal(step.next.state)) << Name(event);
    EXPECT_NE(step.next.outcome, Outcome::kSkipped) << Name(event);
  }
}

TEST(StateTableTest, NothingSucceedsAfterItsScopeWasClosed) {
  for (const EventKind closing : AllEvents()) {
    const NodeStatus closed = Next({NodeState::kRunning, Outcome::kUndecided}, closing).next;
    if (closed.state != NodeState::kEnding || closing == EventKind::kSucceed) continue;
    for (const EventKind event : AllEvents()) {
      EXPECT_NE(Next(closed, event).next.outcome, Outcome::kSucceeded) << Name(event);
    }
  }
}

TEST(StateTableTest, AnEventBelowClosesWhateverHasNotEnded) {
  for (const EventKind event : AllEvents()) {
    const std::optional<EventKind> below = EventBelow(event);
    if (!below) continue;
    const Transition pending = Next(kNodeStatuses[0], *below);
    EXPECT_EQ(pending.next.state, NodeState::kSkipped) << Name(event);
    EXPECT_EQ(EventBelow(*below), below) << Name(event) << ": the whole subtree gets the same";
  }
}

TEST(StateTableTest, AStatusIsDecidedFromEndingOn) {
  for (const NodeStatus status : kNodeStatuses) {
    EXPECT_EQ(status.outcome != Outcome::kUndecided, status.state >= NodeState::kEnding);
    if (IsTerminal(status.state)) {
      EXPECT_EQ(Name(status.state), Name(status.outcome));
    }
  }
}

TEST(StateTableDeathTest, AStatusThatCannotBeIsABug) {
  EXPECT_DEATH(Next({NodeState::kRunning, Outcome::kFailed}, EventKind::kGone),
               "no node can be RUNNING with outcome FAILED");
}

}  // namespace
}  // namespace nursery::engine
