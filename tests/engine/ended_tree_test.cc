// A job that is packed answers as it did before, from a fraction of the memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "nursery/core/status.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

constexpr char kEverything[] = R"(
name: everything
join: collect
nodes:
  - {name: good, call: {function: echo, argument: hello}}
  - {name: bad, call: {function: script, argument: "2s!"}, retry: {max_attempts: 2}}
  - {name: after, needs: [bad], call: noop}
  - {name: never, needs: [bad], nodes: [{name: inside, call: noop}]}
  - name: deep
    nodes:
      - name: deeper
        nodes: [{name: slow, call: {function: script, argument: 1m}, timeout: 5s}]
  - name: each
    map:
      items: {range: {from: 1, to: 5}}
      join: {max_failures: 5}
      node:
        nodes: [{name: part, call: {function: script, argument: "1s!"}}]
)";

std::string Nodes(int count) {
  std::string yaml = "name: nodes\nnodes:\n";
  for (int i = 0; i < count; ++i) {
    yaml += "  - {name: node" + std::to_string(i) + ", sleep: 1s}\n";
  }
  return yaml;
}

// What does not depend on when it is asked.
std::string Described(const Job& job) {
  v1::Job described = job.Describe();
  described.clear_update_time();
  return described.DebugString();
}

std::string Logged(const Job& job, int64_t after, size_t limit) {
  absl::StatusOr<EventBatch> batch = job.Events(after, limit);
  EXPECT_TRUE(batch.ok()) << batch.status();
  std::string text;
  for (const v1::Event& event : batch->events) text += event.ShortDebugString() + "\n";
  return text;
}

void ExpectKnows(const Job& job) {
  for (const char* path : {"", "deep/deeper", "each", "each[3]", "each[3]/part", "never/inside"}) {
    EXPECT_TRUE(job.Knows(path)) << path;
  }
  for (const char* path : {"dee", "each[3]/par", "each[3]part", "other", "good\nbad"}) {
    EXPECT_FALSE(job.Knows(path)) << path;
  }
}

SEEDED_TEST(EndedTreeTest, APackedJobAnswersAsBefore) {
  JobHarness harness(executor);
  const std::shared_ptr<Job> job = co_await harness.Run(ctx, kEverything);
  const std::string described = Described(*job);
  const std::vector<NodeView> views = job->View(1000);
  const std::vector<NodeView> cut = job->View(4);
  const std::string logged = Logged(*job, 0, 1000);
  const std::string some = Logged(*job, 7, 3);
  const int64_t last = job->last_seq();
  const size_t outputs = job->Outputs("", /*below=*/true).size();
  EXPECT_FALSE(job->packed());
  ExpectKnows(*job);
  job->Pack();
  EXPECT_TRUE(job->packed());
  ExpectKnows(*job);
  EXPECT_EQ(Described(*job), described);
  EXPECT_TRUE(job->View(1000) == views);
  EXPECT_TRUE(job->View(4) == cut);
  EXPECT_EQ(Logged(*job, 0, 1000), logged);
  EXPECT_EQ(Logged(*job, 7, 3), some);
  EXPECT_EQ(job->last_seq(), last);
  EXPECT_EQ(job->Outputs("", /*below=*/true).size(), outputs);
  EXPECT_EQ(job->Outputs("good", /*below=*/false).size(), 1u);
  EXPECT_TRUE(job->done());
  EXPECT_EQ(job->StateOf("deep/deeper/slow"), NodeState::kDeadlineExceeded);
  EXPECT_EQ(job->StateOf("deep/deeper/slower"), std::nullopt);
  co_return absl::OkStatus();
}

SEEDED_TEST(EndedTreeTest, ACancelOfAPackedJobFindsThatItHasEnded) {
  JobHarness harness(executor);
  const std::shared_ptr<Job> job = co_await harness.Run(ctx, kEverything);
  job->Pack();
  job->Pack();  // has nothing left to do
  CancelRequest request;
  request.path = "deep";
  absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(request);
  if (!receipt.ok()) co_return receipt.status();
  EXPECT_TRUE(receipt->already_ended());
  EXPECT_TRUE(receipt->complete());
  request.path = "nowhere";
  EXPECT_TRUE(absl::IsNotFound(job->Cancel(request).status()));
  co_return absl::OkStatus();
}

// Ten groups of so many nodes; the last node fails, but the group may.
std::string Groups(int nodes) {
  std::string yaml = "name: groups\njoin: collect\nnodes:\n";
  for (int group = 0; group < 10; ++group) {
    yaml += "  - name: g" + std::to_string(group) + "\n    nodes:\n";
    for (int i = 0; i < nodes; ++i) {
      const bool fails = group == 9 && i == nodes - 1;
      const std::string function = fails ? "fail}, allow_failure: true}\n" : "noop}}\n";
      yaml += "      - {name: n" + std::to_string(i) + ", call: {function: " + function;
    }
  }
  return yaml;
}

std::vector<std::string> Paths(const std::vector<NodeView>& views) {
  std::vector<std::string> paths;
  for (const NodeView& view : views) paths.push_back(view.path);
  return paths;
}

SEEDED_TEST(EndedTreeTest, ACutTreeHasWhatFailedHoweverDeep) {
  JobHarness harness(executor);
  const std::shared_ptr<Job> job = co_await harness.Run(ctx, Groups(3));
  const std::vector<std::string> cut = {"", "g9", "g9/n2", "g0", "g1"};
  const std::vector<std::string> below = {"g9", "g9/n2"};
  for (int packed = 0; packed < 2; ++packed) {
    EXPECT_EQ(Paths(job->View(5)), cut);
    EXPECT_EQ(Paths(job->View(2, "g9")), below);
    EXPECT_THAT(Paths(job->View(100, "", 1)), testing::SizeIs(11));
    EXPECT_THAT(Paths(job->View(100, "g9", std::numeric_limits<int>::max())), testing::SizeIs(4));
    EXPECT_THAT(Paths(job->View(100, "g10")), testing::IsEmpty());
    job->Pack();
  }
  co_return absl::OkStatus();
}

Async<absl::Status> RunLarge(Context context, JobHarness* harness, size_t* bytes) {
  const std::shared_ptr<Job> job = co_await harness->Run(context, Nodes(5000));
  job->Pack();
  *bytes = job->size();
  co_return absl::OkStatus();
}

TEST(EndedTreeSizeTest, ANodeTakesFewBytes) {
  SeededExecutor executor(1);
  JobHarness harness(executor, 10);
  size_t bytes = 0;
  const absl::Status ran =
      executor.Run("root", [&](Context ctx) { return RunLarge(std::move(ctx), &harness, &bytes); });
  EXPECT_TRUE(ran.ok()) << ran;
  EXPECT_GT(bytes, 0u);
  EXPECT_LT(bytes, 5000u * 48);
}

}  // namespace
}  // namespace nursery::engine
