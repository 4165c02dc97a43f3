// The receipt of a cancel, where something takes its time to die.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <thread>

#include "nursery/core/blocking.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::seconds;

// Told to end, it has two processes that outlive SIGKILL for three seconds, one of which is named.
// Then those that are to escape have done so.
class SlowToDie final : public actions::ExecRunner {
 public:
  Async<ActionResult> Run(Context context, const spec::Exec&,
                          const AttemptRequest& request) override {
    ActionResult result;
    result.status = co_await UntilCancelled(context);
    request.observer->OnSurvivors({{{7, "tar xf a.tar", "D (disk sleep)"}}, 2});
    if (stats != nullptr) seen = {stats->unkillable.Read(), stats->cancel_survivors.Read()};
    const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
    const Context shielded = shield.context();
    absl::Status slept = co_await Sleep(shielded, seconds(3));
    EXPECT_TRUE(slept.ok());
    request.observer->OnSurvivors({});
    result.terminated = 1;
    result.killed = 2;
    result.escaped = escaped;
    co_return result;
  }

  Survivors escaped;

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
  EXPECT_EQ(later.survivor_count(), 2) << "also those that are not named";
  EXPECT_EQ(later.survivors_size(), 1);
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

SEEDED_TEST(ReceiptTest, NamesWhatHasEscapedAlsoOfItemsAndOncePacked) {
  SlowToDie slow;
  slow.escaped = {{{8, "daemon", "S (sleeping)"}}, 20};
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: items
nodes:
  - name: each
    map:
      items: [a, b]
      node: {exec: {argv: [daemon]}}
  - {name: other, exec: {argv: [daemon]}}
)");
  std::vector<v1::CancelReceipt> receipts;
  absl::Status ran = co_await RunAndCancel(ctx, job, "", &receipts);
  if (!ran.ok()) co_return ran;
  EXPECT_EQ(harness.engine().stats().unkillable.Read(), 0) << "its slot is free";
  for (bool packed : {false, true}) {
    if (packed) job->Pack();
    const v1::CancelReceipt last = job->LastCancel();
    EXPECT_FALSE(last.complete());
    EXPECT_EQ(last.survivor_count(), 60);
    EXPECT_EQ(last.survivors_size(), 3);
    EXPECT_EQ(job->Describe().survivor_count(), 60);
    EXPECT_EQ(job->Describe().survivors(0).command(), "daemon");
  }
  co_return absl::OkStatus();
}

TEST(EscapeesTest, AreCountedAndTheFirstOnesNamed) {
  Escapees escapees;
  for (int i = 0; i < 150; ++i) escapees.Add("a/" + std::to_string(i), {{{i, "x", "S"}}, 3});
  SurvivorList all;
  escapees.AddTo("", &all);
  EXPECT_EQ(all.count, 450);
  EXPECT_EQ(all.named.size(), kMaxSurvivors);
  SurvivorList one;
  escapees.AddTo("a/7", &one);
  EXPECT_EQ(one.count, 3);
  EXPECT_EQ(one.named.size(), 1u);
  EXPECT_EQ(one.named[0].pid(), 7);
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

// The cancels that the log tells, in its order: "asked PATH", "killed PATH", "done PATH".
std::vector<std::string> ToldCancels(const Job& job) {
  std::vector<std::string> told;
  absl::StatusOr<EventBatch> events = job.Events(0, 1000);
  for (const v1::Event& event : events->events) {
    if (event.has_cancel_requested()) {
      const v1::CancelRequested& requested = event.cancel_requested();
      told.push_back((requested.kill() ? "killed " : "asked ") + requested.path());
      EXPECT_EQ(requested.cause().kind(), v1::CAUSE_KIND_CANCELLED);
    } else if (event.has_cancel_completed()) {
      const v1::CancelReceipt& receipt = event.cancel_completed().receipt();
      told.push_back("done " + receipt.path());
      EXPECT_TRUE(receipt.complete());
    } else if (event.has_node_ended()) {
      told.push_back("ended " + event.node_ended().path());
    }
  }
  return told;
}

Async<absl::Status> CancelAll(Context ctx, std::shared_ptr<Job> job,
                              std::vector<CancelRequest> requests) {
  for (const CancelRequest& request : requests) {
    absl::Status slept = co_await Sleep(ctx, seconds(1));
    absl::StatusOr<v1::CancelReceipt> receipt = job->Cancel(request);
    if (!receipt.ok()) co_return receipt.status();
    if (!slept.ok()) co_return slept;
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SpawnCancels(Group& group, std::shared_ptr<Job> job,
                                 std::vector<CancelRequest> requests) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status cancelling = co_await group.Spawn("cancel", CancelAll, job, std::move(requests));
  co_return running.ok() ? cancelling : running;
}

CancelRequest RequestOf(std::string path, bool kill = false) {
  CancelRequest request;
  request.path = std::move(path);
  request.kill = kill;
  return request;
}

SEEDED_TEST(ReceiptTest, EachCancelIsToldWhenItComesAndOnceItIsComplete) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: told
join: collect
nodes:
  - {name: unpack, exec: {argv: [tar]}}
  - {name: other, call: {function: script, argument: 60s other}}
  - {name: last, needs: [other], call: noop}
)");
  // Twice the same, a kill twice, what has not started, and what has ended.
  std::vector<CancelRequest> requests = {RequestOf("unpack"),
                                         RequestOf("unpack"),
                                         RequestOf("unpack", true),
                                         RequestOf("unpack", true),
                                         RequestOf("last"),
                                         RequestOf("last"),
                                         RequestOf("")};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnCancels, job, requests);
  EXPECT_EQ(ToldCancels(*job),
            (std::vector<std::string>{"asked unpack", "killed unpack", "ended unpack",
                                      "done unpack", "asked last", "ended last", "done last",
                                      "asked ", "ended other", "ended ", "done "}));
  co_return result.status;
}

SEEDED_TEST(ReceiptTest, APartIsToldToBeDoneAlsoWhenAllIsCancelledMeanwhile) {
  SlowToDie slow;
  JobHarness harness(executor, 100, &slow);
  std::shared_ptr<Job> job = harness.Admit(R"(name: told
nodes:
  - {name: unpack, exec: {argv: [tar]}}
)");
  std::vector<CancelRequest> requests = {RequestOf("unpack"), RequestOf("")};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnCancels, job, requests);
  EXPECT_EQ(ToldCancels(*job), (std::vector<std::string>{"asked unpack", "asked ", "ended unpack",
                                                         "done unpack", "ended ", "done "}));
  co_return result.status;
}

SEEDED_TEST(ReceiptTest, AFinallyThatKillCutShortIsLeftOut) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(R"(name: killed
nodes:
  - name: work
    call: {function: script, argument: 60s work}
    finally: {call: {function: script, argument: 9s clean}}
)");
  std::vector<CancelRequest> requests = {RequestOf(""), RequestOf("", true)};
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), SpawnCancels, job, requests);
  EXPECT_EQ(harness.StateOf(*job, "work"), "CANCELLED");
  const v1::CancelReceipt receipt = job->LastCancel();
  EXPECT_TRUE(receipt.complete());
  EXPECT_EQ(receipt.cleanups_run(), 0);
  EXPECT_EQ(receipt.cleanups_skipped(), 1);
  EXPECT_EQ(job->Describe().error_count(), 0);
  EXPECT_EQ(FromProto(receipt.duration()), seconds(1));
  co_return result.status;
}

constexpr char kTwoCleanups[] = R"(name: two
join: collect
nodes:
  - name: x
    call: {function: script, argument: 60s x}
    finally: {call: {function: script, argument: 9s clean-x}}
  - name: y
    call: {function: script, argument: 60s y}
    finally: {call: {function: script, argument: 20s clean-y}}
)";

CancelRequest CancelOf(const std::string& path, bool kill) {
  CancelRequest request;
  request.path = path;
  request.kill = kill;
  request.actor = (kill ? "killer of " : "canceller of ") + path;
  return request;
}

struct Cancelled {
  std::vector<std::shared_ptr<const CancelRecord>> records;
  std::vector<v1::CancelReceipt> receipts;  // of a second after the last cancel
};

// One each second.
Async<absl::Status> CancelEach(Context ctx, std::shared_ptr<Job> job,
                               std::vector<CancelRequest> requests, Cancelled* cancelled) {
  absl::Status slept = co_await Sleep(ctx, seconds(1));
  for (const CancelRequest& request : requests) {
    absl::StatusOr<std::shared_ptr<const CancelRecord>> record = job->StartCancel(request);
    if (!record.ok()) co_return record.status();
    cancelled->records.push_back(*record);
    slept = co_await Sleep(ctx, seconds(1));
  }
  for (const auto& record : cancelled->records) {
    cancelled->receipts.push_back(job->Receipt(*record));
  }
  co_return slept;
}

Async<absl::Status> SpawnEach(Group& group, std::shared_ptr<Job> job,
                              std::vector<CancelRequest> requests, Cancelled* cancelled) {
  absl::Status running = co_await group.Spawn("job", RunJob, job);
  absl::Status cancelling =
      co_await group.Spawn("cancel", CancelEach, job, std::move(requests), cancelled);
  co_return running.ok() ? cancelling : running;
}

Async<Cancelled> RunAndCancelEach(Context ctx, std::shared_ptr<Job> job,
                                  std::vector<CancelRequest> requests) {
  Cancelled cancelled;
  GroupResult result =
      co_await WithGroup(ctx, GroupOptions(), SpawnEach, job, std::move(requests), &cancelled);
  EXPECT_TRUE(result.status.ok()) << result.status;
  co_return cancelled;
}

SEEDED_TEST(ReceiptTest, OfAPartOfWhatIsCancelledIsThePartsOwn) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(kTwoCleanups);
  std::vector<CancelRequest> requests = {CancelOf("", false), CancelOf("x", true)};
  const Cancelled cancelled = co_await RunAndCancelEach(ctx, job, std::move(requests));
  EXPECT_FALSE(cancelled.receipts[0].complete()) << "y is cleaned up";
  const v1::CancelReceipt& part = cancelled.receipts[1];
  EXPECT_EQ(part.path(), "x");
  EXPECT_EQ(part.cause().actor(), "killer of x");
  EXPECT_TRUE(part.complete());
  EXPECT_EQ(FromProto(part.duration()), seconds(0));
  co_return absl::OkStatus();
}

SEEDED_TEST(ReceiptTest, OfACancelIsKeptForItsKillWhateverElseIsCancelled) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(kTwoCleanups);
  std::vector<CancelRequest> requests = {CancelOf("x", false), CancelOf("y", false),
                                         CancelOf("x", true)};
  const Cancelled cancelled = co_await RunAndCancelEach(ctx, job, std::move(requests));
  EXPECT_EQ(cancelled.records[2], cancelled.records[0]);
  const v1::CancelReceipt& killed = cancelled.receipts[2];
  EXPECT_EQ(killed.cause().actor(), "canceller of x");
  EXPECT_TRUE(killed.complete());
  EXPECT_EQ(killed.interrupted(), 1);
  EXPECT_EQ(killed.cleanups_skipped(), 1);
  EXPECT_EQ(FromProto(killed.duration()), seconds(2));
  EXPECT_EQ(job->LastCancel().path(), "x");
  co_return absl::OkStatus();
}

SEEDED_TEST(ReceiptTest, OfAPackedJobKnowsWhenItsPartEnded) {
  JobHarness harness(executor);
  std::shared_ptr<Job> job = harness.Admit(kTwoCleanups);
  std::vector<CancelRequest> requests = {CancelOf("x", false)};
  const Cancelled cancelled = co_await RunAndCancelEach(ctx, job, std::move(requests));
  const CancelRecord& record = *cancelled.records[0];
  EXPECT_EQ(FromProto(job->Receipt(record).duration()), seconds(9));
  job->Pack();
  EXPECT_EQ(FromProto(job->Receipt(record).duration()), seconds(9)) << "and not when the job did";
  co_return absl::OkStatus();
}

// A job that cancels itself. Its clean-up waits until a receipt is being made, and the receipt for
// the job's end.
struct Meanwhile {
  std::shared_ptr<Job> job;
  std::shared_ptr<const CancelRecord> record;
  std::latch cancelled{1};
  std::latch asked{1};
  std::latch ended{1};
};

Async<absl::StatusOr<std::string>> CancelItself(Context ctx, Meanwhile* meanwhile) {
  absl::StatusOr<std::shared_ptr<const CancelRecord>> record =
      meanwhile->job->StartCancel(CancelRequest());
  if (!record.ok()) co_return record.status();
  meanwhile->record = *record;
  meanwhile->cancelled.count_down();
  absl::Status cancelled = co_await UntilCancelled(ctx);
  co_return cancelled;
}

Async<absl::StatusOr<std::string>> CleanUp(Context ctx, Meanwhile* meanwhile) {
  auto wait = [meanwhile] {
    meanwhile->asked.wait();
    return absl::OkStatus();
  };
  absl::Status waited = co_await RunBlocking(ctx, std::move(wait));
  if (!waited.ok()) co_return waited;
  co_return "";
}

TEST(ReceiptTest, HasAllCountsOnceItIsComplete) {
  ThreadExecutor executor(1);
  Meanwhile meanwhile;
  actions::FunctionRegistry functions;
  ASSERT_TRUE(functions
                  .Register("cancel_itself",
                            [&](Context ctx, const std::string&) {
                              return CancelItself(std::move(ctx), &meanwhile);
                            })
                  .ok());
  ASSERT_TRUE(functions
                  .Register("clean_up",
                            [&](Context ctx, const std::string&) {
                              return CleanUp(std::move(ctx), &meanwhile);
                            })
                  .ok());
  actions::Actions actions(functions, nullptr);
  store::MemoryStore store(1 << 20);
  std::atomic<bool> armed{false};
  EngineOptions options;
  options.clock = &executor.clock();
  options.actions = &actions;
  options.store = &store;
  options.pools = {{"default", 1}};
  options.containment = [&] {
    if (armed.exchange(false)) {
      meanwhile.asked.count_down();
      meanwhile.ended.wait();
    }
    return v1::CONTAINMENT_UNSPECIFIED;
  };
  Engine engine(options);
  absl::StatusOr<std::shared_ptr<Job>> job = engine.Admit(JobHarness::Compile(R"(name: itself
call: {function: cancel_itself}
finally: {call: {function: clean_up}}
)"),
                                                          JobOptions());
  ASSERT_TRUE(job.ok()) << job.status();
  meanwhile.job = *job;
  v1::CancelReceipt receipt;
  std::thread asking([&] {
    meanwhile.cancelled.wait();
    armed.store(true);
    receipt = (*job)->Receipt(*meanwhile.record);
  });
  const absl::Status ran =
      executor.Run("root", [&](Context ctx) { return RunJob(std::move(ctx), *job); });
  meanwhile.ended.count_down();
  asking.join();
  EXPECT_TRUE(ran.ok()) << ran;
  EXPECT_TRUE(receipt.complete());
  EXPECT_EQ(receipt.cleanups_run(), 1);
}

}  // namespace
}  // namespace nursery::engine
