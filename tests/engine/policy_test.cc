// Every join policy, however its children end, with a limit and without, under many seeds; what is
// to come out is computed by a model of its own that knows nothing but ARCHITECTURE.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::milliseconds;

constexpr int kChildren = 3;
constexpr int64_t kClosedAt = 1500;  // milliseconds; children end at whole seconds

struct Case {
  std::string join;  // as in a job file
  std::string ends;
  int limit = 0;

  bool Fails(int child) const {
    return ends == "all fail" || (ends == "first fails" && child == 0) ||
           (ends == "last fails" && child == kChildren - 1);
  }
  bool closed() const { return ends == "cancel" || ends == "deadline"; }
};

// The states to expect, and when all is over.
struct Expected {
  std::string group;
  std::array<std::string, kChildren> children;
  int64_t time = 0;
};

using Seconds = std::array<int64_t, kChildren>;

// "" while the policy has not decided.
std::string Decide(const Case& of, int successes, int failures) {
  const int left = kChildren - successes - failures;
  if (of.join == "all") return failures > 0 ? "FAILED" : left == 0 ? "SUCCEEDED" : "";
  if (of.join == "collect") return left > 0 ? "" : failures > 0 ? "FAILED" : "SUCCEEDED";
  if (of.join == "any") return successes > 0 ? "SUCCEEDED" : left == 0 ? "FAILED" : "";
  if (of.join == "{quorum: 2}") {
    return successes == 2 ? "SUCCEEDED" : successes + left < 2 ? "FAILED" : "";
  }
  return failures > 1 ? "FAILED" : left == 0 ? "SUCCEEDED" : "";  // {max_failures: 1}
}

// Walks through the children's ends; without a limit in the order of time, with one as written.
Expected Model(const Case& of, const Seconds& takes) {
  std::array<int64_t, kChildren> begin{};
  std::array<int64_t, kChildren> end{};
  std::array<int, kChildren> order{};
  for (int i = 0; i < kChildren; ++i) {
    order[i] = i;
    begin[i] = of.limit == 1 && i > 0 ? end[i - 1] : 0;
    end[i] = begin[i] + takes[i] * 1000;
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return end[a] < end[b]; });
  Expected expected;
  int counts[2] = {0, 0};
  for (int i : order) {
    if (of.closed() && end[i] > kClosedAt) break;
    expected.children[i] = of.Fails(i) ? "FAILED" : "SUCCEEDED";
    expected.time = end[i];
    ++counts[of.Fails(i) ? 1 : 0];
    expected.group = Decide(of, counts[0], counts[1]);
    if (!expected.group.empty()) break;
  }
  const std::string closing = of.ends == "deadline" ? "DEADLINE_EXCEEDED" : "CANCELLED";
  const bool from_outside = expected.group.empty();
  if (from_outside) {
    expected.group = closing;
    expected.time = kClosedAt;
  }
  for (int i = 0; i < kChildren; ++i) {
    if (!expected.children[i].empty()) continue;
    // A child that is next under the limit does not start at the instant of a decision.
    const bool started = begin[i] < expected.time;
    expected.children[i] = !started ? "SKIPPED" : from_outside ? closing : "CANCELLED";
  }
  return expected;
}

std::string Yaml(const Case& of, const Seconds& takes) {
  std::string yaml = "name: policy\njoin: " + of.join + "\n";
  if (of.limit != 0) yaml += "limit: " + std::to_string(of.limit) + "\n";
  if (of.ends == "deadline") yaml += "timeout: " + std::to_string(kClosedAt) + "ms\n";
  yaml += "nodes:\n";
  for (int i = 0; i < kChildren; ++i) {
    const std::string name = "n" + std::to_string(i);
    yaml += "  - {name: " + name +
            ", call: {function: script, argument: " + std::to_string(takes[i]) + "s" +
            (of.Fails(i) ? "! " : " ") + name + "}}\n";
  }
  return yaml;
}

Async<absl::Status> RunJob(Context ctx, std::shared_ptr<Job> job) {
  co_await job->Run(ctx);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelThen(Context ctx, std::shared_ptr<Job> job) {
  absl::Status slept = co_await Sleep(ctx, milliseconds(kClosedAt));
  absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(CancelRequest());
  EXPECT_TRUE(receipt.ok()) << receipt.status();
  co_return slept;
}

Async<absl::Status> Spawn(Group& group, std::shared_ptr<Job> job, bool cancel) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  if (!cancel) co_return running;
  absl::Status cancelling = co_await group.Spawn("cancel", CancelThen, job);
  co_return running.ok() ? cancelling : running;
}

Async<absl::Status> Check(Context ctx, SeededExecutor* executor, Case of) {
  Seconds takes = {1, 2, 3};
  for (uint64_t i = kChildren - 1; i > 0; --i) std::swap(takes[i], takes[executor->Random(i + 1)]);
  const Expected expected = Model(of, takes);
  JobHarness harness(*executor);
  std::shared_ptr<Job> job = harness.Admit(Yaml(of, takes));
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Spawn, job, of.ends == "cancel");
  EXPECT_EQ(harness.StateOf(*job, ""), expected.group);
  // An end that comes before the cancel leaves the canceller asleep.
  if (of.ends != "cancel") {
    EXPECT_EQ(ctx.Now() - start, milliseconds(expected.time));
  }
  for (int i = 0; i < kChildren; ++i) {
    const std::string name = "n" + std::to_string(i);
    EXPECT_EQ(harness.StateOf(*job, name), expected.children[i]) << name;
    EXPECT_EQ(harness.Started(name), expected.children[i] == "SKIPPED" ? 0 : 1) << name;
  }
  co_return result.status;
}

class JoinPolicyTest : public testing::TestWithParam<Case> {};

TEST_P(JoinPolicyTest, EndsAsArchitectureSays) {
  RunSeeds([](Context ctx, SeededExecutor& executor) { return Check(ctx, &executor, GetParam()); });
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* join : {"all", "collect", "any", "{quorum: 2}", "{max_failures: 1}"}) {
    for (const char* ends :
         {"all succeed", "first fails", "last fails", "all fail", "cancel", "deadline"}) {
      for (int limit : {0, 1}) cases.push_back({join, ends, limit});
    }
  }
  return cases;
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  std::string name =
      info.param.join + "_" + info.param.ends + "_limit" + std::to_string(info.param.limit);
  std::erase_if(name, [](char c) { return c == '{' || c == '}' || c == ':'; });
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Policies, JoinPolicyTest, testing::ValuesIn(Cases()), CaseName);
[[maybe_unused]] const bool kNoted = NoteSeededTest("Policies/JoinPolicyTest.*");

}  // namespace
}  // namespace nursery::engine
