// The receipt of a cancel, where something takes its time to die.
#include <gtest/gtest.h>

#include <chrono>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::seconds;

// Told to end, it has two processes that outlive SIGKILL for three seconds.
class SlowToDie final : public actions::ExecRunner {
 public:
  Async<ActionResult> Run(Context context, const spec::Exec&,
                          const AttemptRequest& request) override {
    ActionResult result;
    result.status = co_await UntilCancelled(context);
    AttemptObserver::Survivor survivor;
    survivor.pid = 7;
    survivor.command = "tar xf a.tar";
    survivor.state = "D (disk sleep)";
    request.observer->OnSurvivors({survivor, survivor});
    if (stats != nullptr) seen = {stats->unkillable.Read(), stats->cancel_survivors.Read()};
    const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
    const Context shielded = shield.context();
    absl::Status slept = co_await Sleep(shielded, seconds(3));
    EXPECT_TRUE(slept.ok());
    request.observer->OnSurvivors({});
    result.terminated = 1;
    result.killed = 2;
    co_return result;
  }

  const EngineStats* stats = nullptr;
  std::pair<int64_t, int64_t> seen;  // unkillable and cancel_survivors while both lived
};

Async<absl::Status> RunJob(Context ctx, std::shared_ptr<Job> job) {
  co_await job->Run(ctx);
  co_return absl::OkStatus();
}

// Cancels `path` after a second and gives the receipts of that moment and of a second later.
Async<absl::Status> CancelPath(Context ctx, std::shared_ptr<Job> job, std::string path,
                               std::vector<v1::CancelReceipt>* receipts) {
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  CancelRequest request;
  request.path = path;
  absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(request);
  if (!receipt.ok()) co_return receipt.status();
  receipts->push_back(*receipt);
  if (slept.ok()) slept = co_await Sleep(ctx, seconds(1));
  receipts->push_back(job->LastCancel());
  co_return slept;
}

Async<absl::Status> Spawn(Group& group, std::shared_ptr<Job> job, std::string path,
                          std::vector<v1::CancelReceipt>* receipts) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status cancelling = co_await group.Spawn("cancel", CancelPath, job, path, receipts);
  co_return running.ok() ? cancelling : running;
}

Async<absl::Status> RunAndCancel(Context ctx, std::shared_ptr<Job> job, std::string path,
                                 std::vector<v1::CancelReceipt>* receipts) {
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Spawn, job, path, receipts);
  co_return result.status;
}

SEEDED_TEST(ReceiptTest, NamesWhatStillLivesUntilItIsGone) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: stuck
nodes:
  - {name: unpack, exec: {argv: [tar]}}
  - {name: other, call: {function: script, argument: 60s other}}
)");
  std::vector<v1::CancelReceipt> receipts;
  absl::Status ran = co_await RunAndCancel(ctx, job, "", &receipts);
  if (!ran.ok()) co_return ran;
  const v1::CancelReceipt& later = receipts[1];
  EXPECT_FALSE(later.complete());
  EXPECT_EQ(later.survivor_count(), 2);
  EXPECT_EQ(later.survivors(0).path(), "unpack");
  EXPECT_EQ(later.survivors(0).state(), "D (disk sleep)");
  EXPECT_EQ(FromProto(later.duration()), seconds(1));
  const v1::CancelReceipt last = job->LastCancel();
  EXPECT_TRUE(last.complete());
  EXPECT_EQ(last.survivor_count(), 0);
  EXPECT_EQ(last.terminated(), 1);
  EXPECT_EQ(last.killed(), 2);
  EXPECT_EQ(FromProto(last.duration()), seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(EngineStatsTest, CountsWhatACancelTookDownAndHowLong) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  const EngineStats& stats = harness.engine().stats();
  slow.stats = &stats;
  std::shared_ptr<Job> job = harness.Admit(R"(name: stuck
exec: {argv: [tar]}
)");
  std::vector<v1::CancelReceipt> receipts;
  absl::Status ran = co_await RunAndCancel(ctx, job, "", &receipts);
  if (!ran.ok()) co_return ran;
  EXPECT_EQ(slow.seen, std::pair(int64_t{2}, int64_t{2}));
  EXPECT_EQ(stats.unkillable.Read(), 0);
  EXPECT_EQ(stats.cancel_survivors.Read(), 0);
  EXPECT_EQ(stats.cancels[static_cast<size_t>(CauseKind::kCancelled)].Read(), 1);
  // From the cancel, not from the start a second earlier; 3 s is in the bucket up to 5 s.
  EXPECT_EQ(stats.cancel_seconds.Read().sum_seconds, 3);
  EXPECT_EQ(stats.cancel_seconds.Read().by_bucket[7], 1);
  EXPECT_EQ(stats.attempts[0][v1::ATTEMPT_STATE_CANCELLED].Read(), 1);
  EXPECT_EQ(stats.attempt_seconds[0].Read().sum_seconds, 4);
  EXPECT_EQ(stats.job_seconds[static_cast<size_t>(NodeState::kCancelled)].Read().sum_seconds, 4);
  co_return absl::OkStatus();
}

SEEDED_TEST(ReceiptTest, OfASubtreeKnowsNoOther) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: two
join: collect
nodes:
  - {name: unpack, timeout: 500ms, exec: {argv: [tar]}}
  - {name: other, call: {function: script, argument: 60s other}}
)");
  std::vector<v1::CancelReceipt> receipts;
  absl::Status ran = co_await RunAndCancel(ctx, job, "other", &receipts);
  if (!ran.ok()) co_return ran;
  EXPECT_TRUE(receipts[1].complete());
  EXPECT_EQ(receipts[1].survivor_count(), 0) << "unpack's";
  EXPECT_EQ(receipts[1].interrupted(), 1);
  co_return absl::OkStatus();
}

SEEDED_TEST(ReceiptTest, OfAnItemIsCompleteWhenTheItemIsGone) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: items
nodes:
  - name: each
    map:
      items: [a, b]
      join: collect
      node: {timeout: 9s, exec: {argv: [tar]}}
)");
  std::vector<v1::CancelReceipt> receipts;
  absl::Status ran = co_await RunAndCancel(ctx, job, "each[1]", &receipts);
  if (!ran.ok()) co_return ran;
  for (const v1::CancelReceipt& receipt : receipts) EXPECT_FALSE(receipt.complete());
  EXPECT_EQ(receipts[1].survivor_count(), 2);
  EXPECT_EQ(receipts[1].survivors(0).path(), "each[1]");
  EXPECT_TRUE(job->LastCancel().complete());
  co_return absl::OkStatus();
}

Async<absl::Status> KillLater(Context ctx, std::shared_ptr<Job> job) {
  for (bool kill : {false, true}) {
    absl::Status slept = co_await Sleep(ctx, seconds(1));
    if (!slept.ok()) co_return slept;
    CancelRequest request;
    request.kill = kill;
    absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(request);
    if (!receipt.ok()) co_return receipt.status();
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnKill(Group& group, std::shared_ptr<Job> job) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status killing = co_await group.Spawn("kill", KillLater, job);
  co_return running.ok() ? killing : running;
}

SEEDED_TEST(ReceiptTest, AFinallyThatKillCutShortIsLeftOut) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(R"(name: killed
nodes:
  - name: work
    call: {function: script, argument: 60s work}
    finally: {call: {function: script, argument: 9s clean}}
)");
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnKill, job);
  EXPECT_EQ(harness.StateOf(*job, "work"), "CANCELLED");
  const v1::CancelReceipt receipt = job->LastCancel();
  EXPECT_TRUE(receipt.complete());
  EXPECT_EQ(receipt.cleanups_run(), 0);
  EXPECT_EQ(receipt.cleanups_skipped(), 1);
  EXPECT_EQ(job->Describe().error_count(), 0);
  EXPECT_EQ(FromProto(receipt.duration()), seconds(1));
  co_return result.status;
}

}  // namespace
}  // namespace nursery::engine
