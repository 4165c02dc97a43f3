// The wait-for graph of a server's tasks, as FindWaitCycles tells it. No tree can be made to wait
// for itself, so the tasks of the two nodes are the test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/core/wait_graph.h"
#include "server/engine/job_table.h"
#include "server/rpc/describe_waits.h"
#include "tests/engine/job_harness.h"

namespace nursery {
namespace {

using engine::JobHarness;
using engine::JobTable;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

struct Seen {
  const JobTable* table = nullptr;
  std::string job;  // its id
  int waiters = 0;  // behind the cycle
  Semaphore one{1};
  Semaphore two{1};
  v1::FindWaitCyclesResponse found;
};

Async<absl::Status> TakeBoth(Context ctx, Semaphore* first, Semaphore* second) {
  absl::StatusOr<Permit> held = co_await first->Acquire(ctx);
  if (!held.ok()) co_return held.status();
  absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(1));
  if (!slept.ok()) co_return slept;
  absl::StatusOr<Permit> both = co_await second->Acquire(ctx);
  co_return both.status();
}

Async<absl::Status> TakeOne(Context ctx, Semaphore* first) {
  absl::Status slept = co_await Sleep(ctx, std::chrono::milliseconds(1));
  if (!slept.ok()) co_return slept;
  absl::StatusOr<Permit> held = co_await first->Acquire(ctx);
  co_return held.status();
}

Async<absl::Status> RunNodes(Group& group, Seen* seen) {
  absl::Status spawned = co_await group.Spawn("left", TakeBoth, &seen->one, &seen->two);
  if (!spawned.ok()) co_return spawned;
  spawned = co_await group.Spawn("right", TakeBoth, &seen->two, &seen->one);
  for (int i = 0; spawned.ok() && i < seen->waiters; ++i) {
    spawned = co_await group.Spawn("job helper", TakeOne, &seen->one);
  }
  co_return spawned;
}

Async<absl::Status> RunJob(Context ctx, Seen* seen) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RunNodes, seen);
  co_return result.status;
}

Async<absl::Status> Look(Group& group, Seen* seen) {
  absl::Status spawned = co_await group.Spawn("job " + seen->job, RunJob, seen);
  if (!spawned.ok()) co_return spawned;
  absl::Status slept = co_await Sleep(group.context(), std::chrono::seconds(1));
  if (!slept.ok()) co_return slept;
  seen->found = rpc::ToProto(FindWaitCycles(), *seen->table);
  co_return absl::CancelledError("looked");
}

constexpr char kTwoNodes[] = R"(
name: two
nodes:
  - {name: left, call: {function: script, argument: 1s}}
  - {name: right, call: {function: script, argument: 1s}}
)";

Async<void> FillIn(Context ctx, JobHarness* harness, Seen* seen) {
  JobTable table(harness->engine(), engine::TableLimits());
  engine::Submission submission;
  submission.spec = JobHarness::Compile(kTwoNodes);
  absl::StatusOr<engine::Admitted> admitted = table.Admit(std::move(submission));
  EXPECT_TRUE(admitted.ok()) << admitted.status();
  if (!admitted.ok()) co_return;
  // Nodes are known once they were opened.
  co_await admitted->job->Run(ctx);
  table.OnEnded(admitted->job);
  seen->table = &table;
  if (seen->job.empty()) seen->job = admitted->job->id();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Look, seen);
  EXPECT_EQ(Message(result.status), "looked");
}

std::vector<std::string> Nodes(const google::protobuf::RepeatedPtrField<v1::WaitEdge>& edges) {
  std::vector<std::string> nodes;
  for (const v1::WaitEdge& edge : edges) nodes.push_back(edge.node());
  return nodes;
}

SEEDED_TEST(WaitCyclesTest, NodesInACycleAreNamed) {
  JobHarness harness(executor, 1000);
  Seen seen;
  co_await FillIn(ctx, &harness, &seen);
  EXPECT_EQ(seen.found.cycles_size(), 1);
  if (seen.found.cycles_size() != 1) co_return absl::OkStatus();
  const std::string job = "jobs/" + seen.job;
  EXPECT_THAT(Nodes(seen.found.cycles(0).edges()),
              UnorderedElementsAre(job + "/nodes/left", job + "/nodes/right"));
  EXPECT_THAT(Nodes(seen.found.unreachable()),
              ElementsAre(job, job + "/nodes/left", job + "/nodes/right"));
  EXPECT_EQ(seen.found.unreachable_count(), 3);
  const v1::WaitEdge& edge = seen.found.cycles(0).edges(0);
  EXPECT_GT(edge.task(), 0);
  EXPECT_EQ(edge.wait().reason(), v1::WAIT_REASON_SEMAPHORE);
  EXPECT_EQ(edge.wait().object(), "semaphore");
  EXPECT_THAT(edge.at(), HasSubstr("wait_cycles_test.cc:"));
  EXPECT_THAT(edge.spawned_at(), HasSubstr("wait_cycles_test.cc:"));
  EXPECT_EQ(edge.age().seconds(), 1);
  co_return absl::OkStatus();
}

SEEDED_TEST(WaitCyclesTest, WhoeverWaitsBehindOneIsCountedAndSomeAreNamed) {
  JobHarness harness(executor, 1000);
  Seen seen;
  seen.waiters = 100;
  co_await FillIn(ctx, &harness, &seen);
  EXPECT_EQ(seen.found.unreachable_count(), 103);
  EXPECT_EQ(seen.found.unreachable_size(), 100);
  if (seen.found.unreachable_size() != 100) co_return absl::OkStatus();
  const v1::WaitEdge& last = seen.found.unreachable(99);
  EXPECT_EQ(last.name(), "job helper");
  // What is no node works for the one above it, and what is called so is no job.
  EXPECT_EQ(last.node(), "jobs/" + seen.job);
  co_return absl::OkStatus();
}

SEEDED_TEST(WaitCyclesTest, ATaskOfNoJobThatIsKeptHasNoNode) {
  JobHarness harness(executor, 1000);
  Seen seen;
  seen.job = "01JD9K3M5XW0000000000000000";
  co_await FillIn(ctx, &harness, &seen);
  EXPECT_EQ(seen.found.cycles_size(), 1);
  EXPECT_THAT(Nodes(seen.found.unreachable()), ElementsAre("", "", ""));
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery
