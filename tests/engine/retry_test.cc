#include "server/engine/retry.h"

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "server/engine/state_table.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

using std::chrono::nanoseconds;

// "900ms" or "2s".
nanoseconds ParseDuration(const std::string& text) {
  const std::chrono::milliseconds count(std::stoll(text));
  return text.ends_with("ms") ? count : count * 1000;
}

int Number(const TableRow& row, std::string_view column) { return std::stoi(row[column]); }

spec::NodeOptions ParseNode(const TableRow& row) {
  auto policy = std::make_shared<spec::RetryPolicy>();
  policy->max_attempts = Number(row, "max_attempts");
  for (const std::string& code : row.Words("exit_codes")) {
    policy->exit_codes.push_back(std::stoi(code));
  }
  spec::NodeOptions node;
  node.retry = std::move(policy);
  node.max_interruptions = Number(row, "max_interruptions");
  return node;
}

EndedAttempt ParseAttempt(const TableRow& row) {
  EndedAttempt attempt = {.tries = Number(row, "tries"),
                          .interruptions = Number(row, "interruptions")};
  const std::string& word = row["attempt"];
  if (word == "timed out") {
    attempt.result = AttemptResult::kTimedOut;
  } else if (word == "interrupted") {
    attempt.result = AttemptResult::kInterrupted;
  } else if (word.starts_with("exit ")) {
    attempt.exit_code = std::stoi(word.substr(5));
  } else {
    EXPECT_EQ(word, "failed");
  }
  return attempt;
}

class RetryTest : public testing::TestWithParam<TableRow> {};

TEST_P(RetryTest, DecisionIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  RetryScope scope = {.open = row["scope"] == "open"};
  if (row["remaining"] != "none") scope.remaining = ParseDuration(row["remaining"]);
  const RetryDecision decision =
      DecideRetry(ParseNode(row), ParseAttempt(row), scope, /*random=*/0.5);
  EXPECT_EQ(decision.reason, row["reason"]);
  ASSERT_EQ(decision.retry, row["decision"] != "give up");
  if (decision.retry) {
    EXPECT_EQ(decision.backoff, ParseDuration(row["decision"]));
  }
}

INSTANTIATE_TEST_SUITE_P(Architecture, RetryTest, testing::ValuesIn(ReadTable("retries")), RowName);

TEST(DecideRetryTest, ArchitectureHasEveryResultOpenAndClosedAndShortOfTime) {
  std::set<std::string> rows;
  for (const TableRow& row : ReadTable("retries")) {
    const bool limited = row["remaining"] != "none" && row["decision"] == "give up";
    rows.insert(row["attempt"] + (limited ? " late" : " " + row["scope"]));
  }
  for (const std::string attempt : {"failed", "timed out", "interrupted"}) {
    for (const char* scope : {" open", " closed", " late"}) {
      EXPECT_TRUE(rows.contains(attempt + scope)) << "no row of " << attempt << scope;
    }
  }
}

class BackoffTest : public testing::TestWithParam<TableRow> {};

TEST_P(BackoffTest, BackoffIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const spec::RetryPolicy policy = {.initial = ParseDuration(row["initial"]),
                                    .max = ParseDuration(row["max"]),
                                    .multiplier = std::stod(row["multiplier"]),
                                    .jitter = std::stod(row["jitter"]),
                                    .exit_codes = {}};
  const nanoseconds backoff = Backoff(policy, Number(row, "tries"), std::stod(row["random"]));
  EXPECT_EQ(backoff, ParseDuration(row["backoff"]));
}

INSTANTIATE_TEST_SUITE_P(Architecture, BackoffTest, testing::ValuesIn(ReadTable("backoffs")),
                         RowName);

TEST(BackoffTest, LongestPossibleBackoffDoesNotOverflow) {
  const spec::RetryPolicy policy = {.max = nanoseconds::max(), .jitter = 1, .exit_codes = {}};
  EXPECT_EQ(Backoff(policy, 2'000'000'000, 0.5), nanoseconds::max());
  EXPECT_EQ(Backoff(policy, 2'000'000'000, 0.999999), nanoseconds::max());
  EXPECT_EQ(Backoff(policy, 2'000'000'000, 0), nanoseconds(0));
}

class DeadlineTest : public testing::TestWithParam<TableRow> {};

// What the table of states says about a clock, written as in ARCHITECTURE.md.
std::string Written(const Transition& transition) {
  if (transition.next.state == NodeState::kEnding) {
    return std::string("ENDING(") + Name(transition.next.outcome)[0] + ")";
  }
  return std::string(Name(transition.next.state));
}

TEST_P(DeadlineTest, EffectIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const std::string& clock = row["clock"];
  const bool of_attempt = clock.starts_with("attempt_timeout");
  const bool retried = of_attempt && clock.ends_with("earlier attempt");
  EventKind event = EventKind::kOwnTimeout;
  if (clock == "queue_timeout") event = EventKind::kQueueTimeout;
  if (clock == "inherited") event = EventKind::kAncestorDeadline;
  if (retried) event = EventKind::kRetry;

  const std::string pending = Written(Next({NodeState::kPending, Outcome::kUndecided}, event));
  EXPECT_EQ(of_attempt ? "cannot be" : pending, row["while PENDING"]);
  const std::string running = Written(Next({NodeState::kRunning, Outcome::kUndecided}, event));
  EXPECT_EQ(running, row["while RUNNING"]);
  const std::string ending = Written(Next({NodeState::kEnding, Outcome::kSucceeded}, event));
  EXPECT_EQ(ending, row["while ENDING(S)"]);
  // Other clocks decide the node, and a decided node has no further attempt.
  const EndedAttempt attempt = {.result = AttemptResult::kTimedOut, .tries = retried ? 1 : 2};
  auto policy = std::make_shared<spec::RetryPolicy>();
  policy->max_attempts = 2;
  spec::NodeOptions node;
  node.retry = std::move(policy);
  const RetryDecision decision = DecideRetry(node, attempt, {.open = of_attempt}, 0);
  EXPECT_EQ(decision.retry ? "yes" : "no", row["retried"]);
}

INSTANTIATE_TEST_SUITE_P(Architecture, DeadlineTest, testing::ValuesIn(ReadTable("deadlines")),
                         RowName);

}  // namespace
}  // namespace nursery::engine
