#include "server/engine/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

SEEDED_TEST(JobTest, ASingleActionIsAJob) {
  JobHarness harness(executor);
  std::string yaml = "name: one\ncall: {function: script, argument: 1s a}\n";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  EXPECT_EQ(job->Outputs("", /*below=*/false).at(0).output->Excerpt(), "output of a\n");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, NeedsOrderTheSiblings) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: chain
nodes:
  - {name: c, needs: [b], call: {function: script, argument: 1s c}}
  - {name: a, call: {function: script, argument: 3s a}}
  - {name: b, needs: [a], call: {function: script, argument: 1s b}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_THAT(harness.trace(),
              ElementsAre("start a", "end a", "start b", "end b", "start c", "end c"));
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(job->Describe().counts().succeeded(), 4);
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, FailFastCancelsSiblingsAndSkipsDependents) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: failing
nodes:
  - {name: slow, call: {function: script, argument: 60s slow}}
  - {name: broken, call: {function: script, argument: 1s! broken}}
  - {name: after, needs: [broken], call: {function: script, argument: 1s after}}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  EXPECT_EQ(harness.StateOf(*job, ""), "FAILED");
  EXPECT_EQ(harness.StateOf(*job, "slow"), "CANCELLED");
  EXPECT_EQ(harness.StateOf(*job, "broken"), "FAILED");
  EXPECT_EQ(harness.StateOf(*job, "after"), "SKIPPED");
  EXPECT_EQ(harness.Started("after"), 0);
  const v1::Job described = job->Describe();
  EXPECT_EQ(described.error_count(), 1);
  EXPECT_EQ(described.errors(0).path(), "broken");
  EXPECT_EQ(described.cause().origin_path(), "broken");
  const absl::StatusOr<EventBatch> events = job->Events(0, 1000);
  for (const v1::Event& event : events->events) {
    if (event.node_ended().path() != "slow") continue;
    EXPECT_EQ(event.node_ended().cause().kind(), v1::CAUSE_KIND_SIBLING_FAILED);
    EXPECT_EQ(event.node_ended().cause().origin_path(), "broken");
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, LimitBoundsTheChildren) {
  JobHarness harness(executor);
  std::string yaml = "name: limited\nlimit: 2\nnodes:\n";
  for (int i = 0; i < 8; ++i) {
    yaml += "  - {name: n" + std::to_string(i) + ", call: {function: script, argument: 1s x}}\n";
  }
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(ctx.Now() - start, seconds(4));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, PoolSlotsBoundTheActions) {
  JobHarness harness(executor, /*slots=*/3);
  std::string yaml = "name: pooled\nnodes:\n";
  for (int i = 0; i < 9; ++i) {
    yaml += "  - {name: n" + std::to_string(i) + ", call: {function: script, argument: 1s x}}\n";
  }
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, JobTimeoutNamesItsLineAndEndsTheTree) {
  JobHarness harness(executor);
  std::string yaml = R"(name: late
timeout: 2s
nodes:
  - {name: quick, call: {function: script, argument: 1s quick}}
  - {name: slow, call: {function: script, argument: 60s slow}}
  - {name: after, needs: [slow], call: {function: script, argument: 1s after}}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(ctx.Now() - start, seconds(2));
  EXPECT_EQ(harness.StateOf(*job, ""), "DEADLINE_EXCEEDED");
  EXPECT_EQ(harness.StateOf(*job, "quick"), "SUCCEEDED");
  EXPECT_EQ(harness.StateOf(*job, "slow"), "DEADLINE_EXCEEDED");
  EXPECT_EQ(harness.StateOf(*job, "after"), "SKIPPED");
  EXPECT_EQ(job->Describe().cause().reason(),
            "deadline exceeded (job timeout 2s, set in test.yaml:2)");
  EXPECT_EQ(FromProto(job->Describe().time_spent().ran()), seconds(2));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, ANodesTimeoutFailsItsGroup) {
  JobHarness harness(executor);
  std::string yaml = R"(name: late
nodes:
  - name: inner
    timeout: 2s
    nodes:
      - {name: slow, call: {function: script, argument: 60s slow}}
  - {name: other, call: {function: script, argument: 60s other}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "FAILED");
  EXPECT_EQ(harness.StateOf(*job, "inner"), "DEADLINE_EXCEEDED");
  EXPECT_EQ(harness.StateOf(*job, "inner/slow"), "DEADLINE_EXCEEDED");
  EXPECT_EQ(harness.StateOf(*job, "other"), "CANCELLED");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, RetriesBackOffAndStop) {
  JobHarness harness(executor);
  std::string yaml = R"(name: retried
retry: {max_attempts: 3, backoff: {initial: 1s, jitter: 0}}
call: {function: script, argument: 1s! x}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.Started("x"), 3);
  EXPECT_EQ(ctx.Now() - start, seconds(1 + 1 + 1 + 2 + 1));
  EXPECT_EQ(harness.StateOf(*job, ""), "FAILED");
  EXPECT_THAT(job->Describe().cause().reason(), HasSubstr("attempt 3 of 3"));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, AttemptTimeoutIsRetriedTimeoutIsNot) {
  JobHarness harness(executor);
  std::string yaml = R"(name: stuck
attempt_timeout: 2s
retry: {max_attempts: 2, backoff: {initial: 1s, jitter: 0}}
call: {function: script, argument: "- x"}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.Started("x"), 2);
  EXPECT_EQ(ctx.Now() - start, seconds(5));
  EXPECT_EQ(harness.StateOf(*job, ""), "DEADLINE_EXCEEDED");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, QueueTimeoutEndsWhatNeverStarted) {
  JobHarness harness(executor, /*slots=*/1);
  std::string yaml = R"(name: queued
join: collect
nodes:
  - {name: holder, priority: 9, call: {function: script, argument: 10s holder}}
  - name: waiter
    needs: [start]
    queue_timeout: 2s
    call: {function: script, argument: 1s waiter}
  - {name: start, sleep: 1s}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, "waiter"), "DEADLINE_EXCEEDED");
  EXPECT_EQ(harness.Started("waiter"), 0);
  EXPECT_EQ(harness.StateOf(*job, "holder"), "SUCCEEDED");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, SemaphoresBoundTheNodesThatAcquireThem) {
  JobHarness harness(executor);
  std::string yaml = R"(name: bounded
semaphores: [{name: gpu, units: ["a", "b"]}]
nodes:
  - name: sweep
    map:
      items: {range: {to: 6}}
      workers: 6
      node:
        acquire: [{semaphore: gpu}]
        call: {function: script, argument: "1s on-${{ sem.gpu }}"}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(ctx.Now() - start, seconds(3));
  EXPECT_EQ(harness.Started("on-a"), 3);
  EXPECT_EQ(harness.Started("on-b"), 3);
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, FinallyRunsWhateverTheOutcome) {
  JobHarness harness(executor);
  std::string yaml = R"(name: cleaned
timeout: 5s
join: collect
nodes:
  - name: good
    call: {function: script, argument: 1s good}
    finally: {call: {function: script, argument: 1s f-good}}
  - name: bad
    call: {function: script, argument: 1s! bad}
    finally: {call: {function: script, argument: 1s f-bad}}
  - name: late
    call: {function: script, argument: 60s late}
    finally: {call: {function: script, argument: 1s f-late}}
  - name: never
    needs: [bad]
    call: {function: script, argument: 1s never}
    finally: {call: {function: script, argument: 1s f-never}}
)";
  const Time start = ctx.Now();
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.Started("f-good"), 1);
  EXPECT_EQ(harness.Started("f-bad"), 1);
  EXPECT_EQ(harness.Started("f-late"), 1);
  EXPECT_EQ(harness.Started("f-never"), 0);
  EXPECT_EQ(ctx.Now() - start, seconds(6));
  EXPECT_EQ(harness.StateOf(*job, "late"), "DEADLINE_EXCEEDED");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, AFailingFinallyFailsItsNode) {
  JobHarness harness(executor);
  std::string yaml = R"(name: unclean
nodes:
  - name: a
    call: {function: script, argument: 1s a}
    finally: {call: {function: script, argument: 1s! f}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, "a"), "FAILED");
  EXPECT_EQ(harness.StateOf(*job, ""), "FAILED");
  co_return absl::OkStatus();
}

Async<absl::Status> RunJob(Context ctx, std::shared_ptr<Job> job) {
  co_await job->Run(ctx);
  co_return absl::OkStatus();
}

v1::WaitReason WaitOf(const Job& job, const std::string& path) {
  for (const NodeView& view : job.View(1000)) {
    if (view.path == path) return view.wait;
  }
  return v1::WAIT_REASON_UNSPECIFIED;
}

// What its nodes wait for, while the job runs.
Async<absl::Status> LookAtWaits(Context ctx, std::shared_ptr<Job> job) {
  absl::Status slept = co_await Sleep(ctx, milliseconds(1500));
  EXPECT_EQ(WaitOf(*job, "limited/b"), v1::WAIT_REASON_GROUP_LIMIT);
  EXPECT_EQ(WaitOf(*job, "after"), v1::WAIT_REASON_NEEDS);
  EXPECT_EQ(WaitOf(*job, "taken"), v1::WAIT_REASON_SEMAPHORE);
  EXPECT_EQ(WaitOf(*job, "limited"), v1::WAIT_REASON_CHILDREN);
  EXPECT_EQ(WaitOf(*job, "again"), v1::WAIT_REASON_BACKOFF);
  co_return slept;
}

Async<absl::Status> RunAndLook(Group& group, std::shared_ptr<Job> job) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status looking = co_await group.Spawn("look", LookAtWaits, job);
  co_return running.ok() ? looking : running;
}

SEEDED_TEST(JobTest, EveryNodeSaysWhatItWaitsFor) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(R"(name: waits
join: collect
semaphores: [{name: db, size: 1}]
nodes:
  - name: limited
    limit: 1
    nodes:
      - {name: a, call: {function: script, argument: 5s a}}
      - {name: b, call: {function: script, argument: 1s b}}
  - {name: after, needs: [limited], call: {function: script, argument: 1s after}}
  - {name: holds, acquire: [{semaphore: db}], call: {function: script, argument: 5s holds}}
  - name: taken
    needs: [first]
    acquire: [{semaphore: db}]
    call: {function: script, argument: 1s taken}
  - {name: first, sleep: 1s}
  - name: again
    retry: {max_attempts: 2, backoff: {initial: 9s, jitter: 0}}
    call: {function: script, argument: 1s! again}
)");
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RunAndLook, job);
  co_return result.status;
}

size_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

SEEDED_TEST(JobTest, LeavesNoFilesBehindThoughItIsKept) {
  JobHarness harness(executor);
  const size_t before = OpenFiles();
  const std::string large(kOutputHead + 1, 'x');
  const std::string yaml =
      "name: files\njoin: collect\nnodes:\n"
      "  - {name: dir, call: {function: echo, argument: '${{ job.dir }}'}}\n"
      "  - {name: large, call: {function: echo, argument: " +
      large +
      "}}\n"
      "  - {name: reads, needs: [large],"
      " call: {function: echo, argument: '${{ output.large }}'}}\n";
  const std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(OpenFiles(), before);
  const auto dir = std::find_if(harness.echoed().begin(), harness.echoed().end(),
                                [](const std::string& each) { return each.starts_with("/"); });
  EXPECT_NE(dir, harness.echoed().end());
  EXPECT_FALSE(std::filesystem::exists(*dir)) << *dir;
  co_return absl::OkStatus();
}

Async<absl::Status> CancelAfter(Context ctx, std::shared_ptr<Job> job, Duration delay,
                                CancelRequest request, v1::CancelReceipt* receipt) {
  absl::Status slept = co_await Sleep(ctx, delay);
  absl::StatusOr<v1::CancelReceipt> given = job->Cancel(request);
  EXPECT_TRUE(given.ok()) << given.status();
  if (given.ok()) *receipt = *given;
  co_return slept;
}

Async<absl::Status> RunAndCancel(Group& group, std::shared_ptr<Job> job, Duration delay,
                                 CancelRequest request, v1::CancelReceipt* receipt) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status cancelling =
      co_await group.Spawn("cancel", CancelAfter, job, delay, request, receipt);
  co_return running.ok() ? cancelling : running;
}

constexpr char kDeepTree[] = R"(name: deep
nodes:
  - name: one
    nodes:
      - name: a
        call: {function: script, argument: 60s a}
        finally: {call: {function: script, argument: 1s f}}
      - {name: b, needs: [a], call: {function: script, argument: 1s b}}
  - name: two
    map:
      items: {range: {to: 100}}
      workers: 3
      node: {call: {function: script, argument: 60s item}}
)";

SEEDED_TEST(JobTest, CancelTakesTheTreeDownAndSaysWhatItDid) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(kDeepTree);
  CancelRequest request;
  request.reason = "wrong input";
  request.actor = "tester";
  v1::CancelReceipt first;
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RunAndCancel, job,
                                          Duration(seconds(2)), request, &first);
  EXPECT_EQ(ctx.Now() - start, seconds(3)) << "the clean-up takes a second";
  EXPECT_EQ(harness.StateOf(*job, ""), "CANCELLED");
  EXPECT_EQ(harness.StateOf(*job, "one/a"), "CANCELLED");
  EXPECT_EQ(harness.StateOf(*job, "one/b"), "SKIPPED");
  EXPECT_EQ(first.interrupted(), 4);
  EXPECT_EQ(first.skipped(), 98);
  EXPECT_FALSE(first.complete());
  const v1::CancelReceipt last = job->LastCancel();
  EXPECT_TRUE(last.complete());
  EXPECT_EQ(last.cleanups_run(), 1);
  EXPECT_EQ(FromProto(last.duration()), seconds(1));
  EXPECT_EQ(last.cause().reason(), "wrong input");
  EXPECT_EQ(job->Describe().cause().actor(), "tester");
  co_return result.status;
}

SEEDED_TEST(JobTest, NothingStartsAfterTheCancelWasAcknowledged) {
  JobHarness harness(executor);
  executor.BeSlow();
  std::shared_ptr<Job> job = harness.Admit(kDeepTree);
  auto cancel = [](Context child, std::shared_ptr<Job> of, JobHarness* trace,
                   SeededExecutor* random) -> Async<absl::Status> {
    for (uint64_t i = random->Random(30); i > 0; --i) co_await Yield();
    CancelRequest request;
    request.kill = true;
    absl::StatusOr<v1::CancelReceipt> receipt = of->Cancel(request);
    const size_t begun = trace->trace().size();
    absl::Status slept = co_await Sleep(child, seconds(300));
    for (size_t i = begun; i < trace->trace().size(); ++i) {
      EXPECT_FALSE(trace->trace()[i].starts_with("start")) << trace->trace()[i];
    }
    co_return receipt.ok() || absl::IsNotFound(receipt.status()) ? slept : receipt.status();
  };
  auto body = [](Group& group, std::shared_ptr<Job> of, decltype(cancel) run, JobHarness* trace,
                 SeededExecutor* random) -> Async<absl::Status> {
    absl::Status one = co_await group.Spawn("job", RunJob, of);
    absl::Status two = co_await group.Spawn("cancel", run, of, trace, random);
    co_return one.ok() ? two : one;
  };
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), body, job, cancel, &harness, &executor);
  EXPECT_TRUE(job->done());
  co_return result.status;
}

SEEDED_TEST(JobTest, ACancelledBranchCountsAsItSays) {
  for (CountsAs counts_as : {CountsAs::kFailure, CountsAs::kSkipped}) {
    JobHarness harness(executor);
    std::shared_ptr<Job> job = harness.Admit(R"(name: branches
nodes:
  - {name: dropped, call: {function: script, argument: 60s dropped}}
  - {name: kept, call: {function: script, argument: 5s kept}}
)");
    CancelRequest request;
    request.path = "dropped";
    request.counts_as = counts_as;
    v1::CancelReceipt receipt;
    GroupResult result = co_await WithGroup(ctx, GroupOptions(), RunAndCancel, job,
                                            Duration(seconds(1)), request, &receipt);
    EXPECT_EQ(harness.StateOf(*job, "dropped"), "CANCELLED");
    const bool failed = counts_as == CountsAs::kFailure;
    EXPECT_EQ(harness.StateOf(*job, ""), failed ? "CANCELLED" : "SUCCEEDED");
    if (!result.status.ok()) co_return result.status;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, TheCallersCancelEndsAnAttachedJob) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(kDeepTree);
  CancelScope call(ctx, ctx.Now() + seconds(2), "call");
  co_await job->Run(call.context());
  EXPECT_EQ(harness.StateOf(*job, ""), "DEADLINE_EXCEEDED");
  EXPECT_EQ(job->Describe().deadline_source(), "the caller's deadline");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, TheCauseIsThatOfTheDecisiveChildHoweverLateItIsDecided) {
  JobHarness harness(executor);
  std::string yaml = R"(name: causes
join: collect
nodes:
  - name: each
    map:
      items: ["1s!", "2s", "3s!"]
      join: collect
      node: {call: {function: script, argument: "${{ item }} x"}}
  - {name: good, call: {function: script, argument: 9s good}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "FAILED");
  EXPECT_EQ(job->Describe().cause().origin_path(), "each[0]");
  EXPECT_EQ(job->Describe().cause().reason(), "told to fail");
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, MapsCountTheirItemsAndPassTheirOutputsOn) {
  JobHarness harness(executor);
  std::string yaml = R"(name: mapped
nodes:
  - name: each
    map:
      items: [x, y, z]
      workers: 2
      join: collect
      node: {call: {function: script, argument: "1s ${{ item }}${{ index }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.Started("x0"), 1);
  EXPECT_EQ(harness.Started("z2"), 1);
  for (const NodeView& view : job->View(100)) {
    if (view.path == "each") {
      EXPECT_EQ(view.items_by_state[static_cast<size_t>(NodeState::kSucceeded)], 3);
    }
  }
  absl::StatusOr<EventBatch> events = job->Events(0, 1000);
  int64_t succeeded = 0;
  for (const v1::Event& event : events->events) {
    for (const v1::ItemRange& range : event.items_ended().succeeded()) succeeded += range.count();
  }
  EXPECT_EQ(succeeded, 3);
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, AMapWithoutItemsCannotHaveOneThatSucceeds) {
  JobHarness harness(executor);
  std::string yaml = R"(name: none
nodes:
  - {name: list, call: {function: echo, argument: ""}}
  - {name: each, needs: [list], map: {items: {output_of: list}, join: any, node: {call: noop}}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, "each"), "FAILED");
  EXPECT_THAT(job->Describe().errors(0).status().message(), HasSubstr("it has no items"));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, NotBeforeCanBeCancelled) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(R"(name: early
nodes:
  - {name: later, not_before: 2099-01-01T00:00:00Z, call: {function: script, argument: 1s later}}
)");
  CancelRequest request;
  request.path = "later";
  v1::CancelReceipt receipt;
  const Time start = ctx.Now();
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), RunAndCancel, job,
                                          Duration(seconds(1)), request, &receipt);
  EXPECT_EQ(ctx.Now() - start, seconds(1));
  EXPECT_EQ(harness.StateOf(*job, "later"), "SKIPPED");
  EXPECT_TRUE(job->LastCancel().complete());
  co_return result.status;
}

SEEDED_TEST(JobTest, WhatNeverOpenedIsCountedWhole) {
  JobHarness harness(executor);
  std::string yaml = R"(name: counted
nodes:
  - {name: broken, call: {function: script, argument: 1s! broken}}
  - name: closed
    needs: [broken]
    nodes:
      - {name: a, call: noop}
      - name: b
        nodes:
          - {name: c, call: noop}
          - {name: each, map: {items: [x], node: {call: noop}}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  const v1::StateCounts counts = job->Describe().counts();
  EXPECT_EQ(counts.pending(), 0);
  EXPECT_EQ(counts.skipped(), 5);
  EXPECT_EQ(counts.failed(), 2);
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, KeysAreEscapedInPaths) {
  JobHarness harness(executor);
  std::string yaml = R"(name: keys
nodes:
  - name: each
    map:
      items: ["a/b", "100%", "x]", "gr\xfcn"]
      key: "${{ item }}"
      join: collect
      node: {call: {function: fail, argument: "${{ key }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  std::vector<std::string> paths;
  const v1::Job described = job->Describe();
  for (const v1::NodeError& error : described.errors()) paths.push_back(error.path());
  EXPECT_THAT(paths, testing::UnorderedElementsAre("each[a%2Fb]", "each[100%25]", "each[x%5D]",
                                                   "each[gr\u00fcn]"));
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTest, ItemsThatNeverWaitLetOthersRun) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(R"(name: busy
nodes:
  - {name: each, map: {items: {range: {to: 5000}}, workers: 2, node: {call: noop}}}
)");
  auto cancel = [](Context, std::shared_ptr<Job> of) -> Async<absl::Status> {
    for (int i = 0; i < 10; ++i) co_await Yield();
    co_return of->Cancel(CancelRequest()).status();
  };
  auto body = [](Group& group, std::shared_ptr<Job> of,
                 decltype(cancel) cancelling) -> Async<absl::Status> {
    absl::Status one = co_await group.Spawn("job", RunJob, of);
    absl::Status two = co_await group.Spawn("cancel", cancelling, of);
    co_return one.ok() ? two : one;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, job, cancel);
  EXPECT_EQ(harness.StateOf(*job, ""), "CANCELLED");
  co_return result.status;
}

}  // namespace
}  // namespace nursery::engine
