// `finally` of actions and groups, whatever ended them.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::milliseconds;

struct Case {
  std::string name;
  std::string work;         // the call's argument without its tag
  std::string fields = {};  // more fields of the node
  std::string job = {};     // more fields of the job
  std::string state;
  bool runs = true;
  bool cancelled = false;  // by a request, after half a second
  int64_t time = 0;        // of the whole job, in milliseconds; `finally` takes 2,000
  bool group = false;      // the node is a group with the work in it
};

std::string Yaml(const Case& of) {
  const std::string work = "call: {function: script, argument: \"" + of.work + " work\"}";
  const std::string what = of.group ? "nodes: [{name: inner, " + work + "}]" : work;
  return "name: cleaned\njoin: collect\nsemaphores: [{name: taken, size: 1}]\n" + of.job +
         "nodes:\n"
         "  - {name: broken, call: {function: script, argument: 1s! broken}}\n"
         "  - {name: holder, call: {function: script, argument: 1s holder},"
         "     acquire: [{semaphore: taken}]}\n"
         "  - {name: start, sleep: 100ms}\n"
         "  - name: node\n" +
         (of.fields.empty() ? "" : "    " + of.fields + "\n") + "    " + what +
         "\n    finally: {call: {function: script, argument: 2s clean}}\n";
}

Async<absl::Status> RunJob(Context ctx, std::shared_ptr<Job> job) {
  co_await job->Run(ctx);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelNode(Context ctx, std::shared_ptr<Job> job) {
  absl::Status slept = co_await Sleep(ctx, milliseconds(500));
  CancelRequest request;
  request.path = "node";
  absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(request);
  EXPECT_TRUE(receipt.ok()) << receipt.status();
  co_return slept;
}

Async<absl::Status> Spawn(Group& group, std::shared_ptr<Job> job, bool cancel) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  if (!cancel) co_return running;
  absl::Status cancelling = co_await group.Spawn("cancel", CancelNode, job);
  co_return running.ok() ? cancelling : running;
}

Async<absl::Status> Check(Context ctx, SeededExecutor* executor, Case of) {
  JobHarness harness(*executor);
  std::shared_ptr<Job> job = harness.Admit(Yaml(of));
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Spawn, job, of.cancelled);
  EXPECT_EQ(harness.StateOf(*job, "node"), of.state);
  EXPECT_EQ(harness.Started("clean"), of.runs ? 1 : 0);
  EXPECT_EQ(ctx.Now() - start, milliseconds(of.time));
  // Not before the work is gone.
  const auto& trace = harness.trace();
  const auto begun = std::find(trace.begin(), trace.end(), "start clean");
  const auto gone = std::find_if(trace.begin(), trace.end(), [](const std::string& line) {
    return line == "end work" || line == "cancelled work";
  });
  if (of.runs) {
    EXPECT_LT(gone - trace.begin(), begun - trace.begin());
    EXPECT_EQ(std::count(trace.begin(), trace.end(), "end clean"), 1) << "cut short";
  }
  co_return result.status;
}

class FinallyRunTest : public testing::TestWithParam<Case> {};

TEST_P(FinallyRunTest, RunsOnceIfTheNodeHasStarted) {
  RunSeeds([](Context ctx, SeededExecutor& executor) { return Check(ctx, &executor, GetParam()); });
}

std::vector<Case> Cases() {
  const std::vector<Case> once = {
      {.name = "success", .work = "1s", .state = "SUCCEEDED", .time = 3000},
      {.name = "failure", .work = "1s!", .state = "FAILED", .time = 3000},
      {.name = "cancel", .work = "9s", .state = "CANCELLED", .cancelled = true, .time = 2500},
      {.name = "deadline",
       .work = "9s",
       .fields = "timeout: 500ms",
       .state = "DEADLINE_EXCEEDED",
       .time = 2500},
      {.name = "cancel_before_start",
       .work = "1s",
       .fields = "needs: [holder]",
       .state = "SKIPPED",
       .runs = false,
       .cancelled = true,
       .time = 1000},
      {.name = "inherited_deadline",
       .work = "9s",
       .job = "timeout: 500ms\n",
       .state = "DEADLINE_EXCEEDED",
       .time = 2500},
      {.name = "inherited_deadline_before_start",
       .work = "1s",
       .fields = "needs: [holder]",
       .job = "timeout: 500ms\n",
       .state = "SKIPPED",
       .runs = false,
       .time = 500},
      {.name = "queue_timeout",
       .work = "1s",
       .fields = "needs: [start]\n    acquire: [{semaphore: taken}]\n    queue_timeout: 500ms",
       .state = "DEADLINE_EXCEEDED",
       .runs = false,
       .time = 1000},
      {.name = "unmet_needs",
       .work = "1s",
       .fields = "needs: [broken]",
       .state = "SKIPPED",
       .runs = false,
       .time = 1000},
  };
  std::vector<Case> cases;
  for (Case each : once) {
    cases.push_back(each);
    each.group = true;
    cases.push_back(each);
  }
  return cases;
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.name + (info.param.group ? "_group" : "_action");
}

INSTANTIATE_TEST_SUITE_P(Ends, FinallyRunTest, testing::ValuesIn(Cases()), CaseName);
[[maybe_unused]] const bool kNoted = NoteSeededTest("Ends/FinallyRunTest.*");

// Permits protect a resource that `finally` may still use.
SEEDED_TEST(FinallyOrderTest, PermitsAreHeldUntilItHasEnded) {
  JobHarness harness(executor);
  std::string yaml = R"(name: exclusive
semaphores: [{name: device, size: 1}]
nodes:
)";
  for (const char* name : {"a", "b"}) {
    yaml += std::string("  - name: ") + name +
            "\n    acquire: [{semaphore: device}]\n"
            "    call: {function: script, argument: 1s work}\n"
            "    finally: {call: {function: script, argument: 2s clean}}\n";
  }
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(ctx.Now() - start, std::chrono::seconds(6));
  co_return absl::OkStatus();
}

// A node that was given its slot and closed before it could use it has not started.
SEEDED_TEST(FinallyOrderTest, IsNotDueWhenTheNodeWasClosedAsItGotItsSlot) {
  JobHarness harness(executor, /*slots=*/1);
  std::shared_ptr<Job> job = harness.Admit(R"(name: queued
nodes:
  - {name: first, priority: 9, call: {function: script, argument: 500ms first}}
  - name: node
    needs: [start]
    call: {function: script, argument: 1s work}
    finally: {call: {function: script, argument: 2s clean}}
  - {name: start, sleep: 100ms}
)");
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Spawn, job, /*cancel=*/true);
  EXPECT_EQ(harness.Started("clean"), harness.Started("work"));
  const std::string state = harness.StateOf(*job, "node");
  EXPECT_EQ(state, harness.Started("work") == 0 ? "SKIPPED" : "CANCELLED");
  co_return result.status;
}

}  // namespace
}  // namespace nursery::engine
