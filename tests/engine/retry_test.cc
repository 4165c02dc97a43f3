#include "server/engine/retry.h"

#include <chrono>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "server/engine/state_table.h"
#include "tests/engine/markdown_table.h"

namespace nursery::engine {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// "900ms" or "2s".
nanoseconds ParseDuration(const std::string& text) {
  const std::chrono::milliseconds count(std::stoll(text));
  return text.ends_with("ms") ? count : count * 1000;
}

uint32_t Number(const TableRow& row, std::string_view column) {
  return static_cast<uint32_t>(std::stoul(row[column]));
}

EndedAttempt ParseAttempt(const TableRow& row) {
  EndedAttempt attempt = {.tries = Number(row, "tries"),
                          .interruptions = Number(row, "interruptions")};
  const std::string& word = row["attempt"];
  if (word == "timed out") {
    attempt.result = AttemptResult::kTimedOut;
  } else if (word == "interrupted") {
    attempt.result = AttemptResult::kInterrupted;
  } else if (word == "not retryable") {
    attempt.retryable = false;
  } else {
    EXPECT_EQ(word, "failed");
  }
  return attempt;
}

class RetryTest : public testing::TestWithParam<TableRow> {};

TEST_P(RetryTest, DecisionIsWhatArchitectureSays) {
  const TableRow& row = GetParam();
  const RetryPolicy policy = {.max_attempts = Number(row, "max_attempts"),
                              .max_interruptions = Number(row, "max_interruptions")};
  RetryScope scope = {.open = row["scope"] == "open"};
  if (row["remaining"] != "none") scope.remaining = ParseDuration(row["remaining"]);
  const RetryDecision decision = DecideRetry(policy, ParseAttempt(row), scope, /*random=*/0.5);
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
  const RetryPolicy policy = {.initial_backoff = ParseDuration(row["initial"]),
                              .multiplier = std::stod(row["multiplier"]),
                              .max_backoff = ParseDuration(row["max"]),
                              .jitter = std::stod(row["jitter"])};
  const nanoseconds backoff = Backoff(policy, Number(row, "tries"), std::stod(row["random"]));
  EXPECT_EQ(backoff, ParseDuration(row["backoff"]));
}

INSTANTIATE_TEST_SUITE_P(Architecture, BackoffTest, testing::ValuesIn(ReadTable("backoffs")),
                         RowName);

TEST(BackoffTest, LongestPossibleBackoffDoesNotOverflow) {
  const RetryPolicy policy = {.max_backoff = nanoseconds::max(), .jitter = 1};
  EXPECT_EQ(Backoff(policy, 4'000'000'000, 0.5), nanoseconds::max());
  EXPECT_EQ(Backoff(policy, 4'000'000'000, 0.999999), nanoseconds::max());
  EXPECT_EQ(Backoff(policy, 4'000'000'000, 0), nanoseconds(0));
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
  if (of_attempt) {
    const RetryDecision decision =
        DecideRetry({.max_attempts = 2},
                    {.result = AttemptResult::kTimedOut, .tries = retried ? 1U : 2U}, {}, 0);
    EXPECT_EQ(decision.retry ? "yes" : "no", row["retried"]);
  } else {
    // The outcome is decided, and a node with an outcome has no further attempt.
    EXPECT_EQ(DecideRetry({.max_attempts = 2}, {}, {.open = false}, 0).retry ? "yes" : "no",
              row["retried"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Architecture, DeadlineTest, testing::ValuesIn(ReadTable("deadlines")),
                         RowName);

}  // namespace
}  // namespace nursery::engine
