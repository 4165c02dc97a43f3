// What a table keeps of jobs that have ended, for how long, and in which form.
#include "server/engine/job_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <new>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string Nodes(int count) {
  std::string yaml = "name: nodes\nnodes:\n";
  for (int i = 0; i < count; ++i) {
    yaml += "  - {name: node" + std::to_string(i) + ", call: {function: script, argument: 1s}}\n";
  }
  return yaml;
}

// Few nodes, and a long log.
constexpr char kManyFailures[] = R"(
name: failures
map:
  items: {range: {to: 500}}
  join: {max_failures: 100%}
  node: {call: {function: fail, argument: "a message that says what went wrong, at some length"}}
)";

// A job that has been handed to the table, which has run `spec_bytes` of spec.
absl::StatusOr<std::shared_ptr<Job>> Submit(JobTable& table, std::shared_ptr<const spec::Job> spec,
                                            int64_t spec_bytes = 0) {
  Submission submission;
  submission.spec = std::move(spec);
  submission.spec_bytes = spec_bytes;
  absl::StatusOr<Admitted> admitted = table.Admit(std::move(submission));
  if (!admitted.ok()) return admitted.status();
  NURSERY_RETURN_IF_ERROR(table.Detach(admitted->job));
  return admitted->job;
}

Async<absl::Status> RunTable(Context, JobTable* table, Context until) {
  absl::Status ran = co_await table->RunDetached(until);
  co_return ran;
}

// What happens beside a table that runs; `seen` is what is seen of it.
using Seen = std::vector<int64_t>;
using Scenario = Async<absl::Status> (*)(Context context, JobTable* table, Seen* seen);

Async<absl::Status> Beside(Group& group, JobTable* table, Scenario scenario, Seen* seen) {
  const CancelScope open(group.context());
  absl::Status spawned = group.TrySpawn("table", RunTable, table, open.context());
  if (!spawned.ok()) co_return spawned;
  absl::Status ran = co_await scenario(group.context(), table, seen);
  open.Cancel("seen");
  co_return ran;
}

Async<Seen> WithTable(Context context, JobTable* table, Scenario scenario) {
  Seen seen;
  GroupResult ended = co_await WithGroup(context, GroupOptions(), Beside, table, scenario, &seen);
  EXPECT_TRUE(ended.status.ok()) << ended.status;
  co_return seen;
}

// Whether a job that runs for a second is packed 4 and 6 seconds after its end.
Async<absl::Status> SeePacking(Context context, JobTable* table,
                               std::shared_ptr<const spec::Job> spec, Seen* seen) {
  absl::StatusOr<std::shared_ptr<Job>> job = Submit(*table, std::move(spec));
  if (!job.ok()) co_return job.status();
  for (const int wait : {5, 2}) {
    absl::Status slept = co_await Sleep(context, seconds(wait));
    if (!slept.ok()) co_return slept;
    seen->push_back((*job)->packed() ? 1 : 0);
  }
  co_return absl::OkStatus();
}

Async<absl::Status> SeeLarge(Context context, JobTable* table, Seen* seen) {
  absl::Status ran = co_await SeePacking(context, table, JobHarness::Compile(Nodes(300)), seen);
  co_return ran;
}

Async<absl::Status> SeeSmall(Context context, JobTable* table, Seen* seen) {
  absl::Status ran = co_await SeePacking(context, table, JobHarness::Compile(Nodes(3)), seen);
  co_return ran;
}

SEEDED_TEST(JobTableTest, LargeJobsArePackedSomeTimeAfterTheirEnd) {
  JobHarness harness(executor, 1000);
  JobTable table(harness.engine(), TableLimits());
  const Seen large = co_await WithTable(ctx, &table, SeeLarge);
  EXPECT_THAT(large, testing::ElementsAre(0, 1));
  const Seen small = co_await WithTable(ctx, &table, SeeSmall);
  EXPECT_THAT(small, testing::ElementsAre(0, 0));
  co_return absl::OkStatus();
}

// How many of five jobs with long logs are kept, and whether the first is packed.
Async<absl::Status> SeeLongLogs(Context context, JobTable* table, Seen* seen) {
  const std::shared_ptr<const spec::Job> spec = JobHarness::Compile(kManyFailures);
  std::shared_ptr<Job> last;
  for (int i = 0; i < 5; ++i) {
    absl::StatusOr<std::shared_ptr<Job>> job = Submit(*table, spec);
    if (!job.ok()) co_return job.status();
    absl::Status slept = co_await Sleep(context, seconds(1));
    if (!slept.ok()) co_return slept;
    last = *job;
  }
  seen->push_back(table->Stats().ended);
  seen->push_back(table->Find(last->id()) == last ? 1 : 0);
  absl::Status slept = co_await Sleep(context, seconds(6));
  seen->push_back(last->packed() ? 1 : 0);
  co_return slept;
}

// One seed: its many events take their time.
Seen SeeWith(TableLimits limits, Scenario scenario) {
  SeededExecutor executor(1);
  JobHarness harness(executor, 1000);
  JobTable table(harness.engine(), limits);
  Seen seen;
  const auto root = [&](Context ctx) -> Async<absl::Status> {
    return [](Context context, JobTable* of, Scenario what, Seen* to) -> Async<absl::Status> {
      *to = co_await WithTable(context, of, what);
      co_return absl::OkStatus();
    }(std::move(ctx), &table, scenario, &seen);
  };
  const absl::Status ran = executor.Run("root", root);
  EXPECT_TRUE(ran.ok()) << ran;
  return seen;
}

TEST(JobTableTest, WhatIsKeptOfJobsCountsWithItsEvents) {
  EXPECT_THAT(SeeWith(TableLimits(), SeeLongLogs), testing::ElementsAre(5, 1, 1));
  TableLimits limits;
  limits.ended_bytes = 1;
  EXPECT_THAT(SeeWith(limits, SeeLongLogs), testing::ElementsAre(1, 1, 1)) << "the last is kept";
}

Async<absl::Status> SeeAge(Context context, JobTable* table, Seen* seen) {
  absl::StatusOr<std::shared_ptr<Job>> job = Submit(*table, JobHarness::Compile(Nodes(1)));
  if (!job.ok()) co_return job.status();
  for (const int wait : {6, 6}) {
    absl::Status slept = co_await Sleep(context, seconds(wait));
    if (!slept.ok()) co_return slept;
    seen->push_back(table->Find((*job)->id()) == nullptr ? 0 : 1);
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTableTest, AnIdleTableForgetsWhatIsTooOld) {
  JobHarness harness(executor);
  TableLimits limits;
  limits.ended_age = seconds(10);
  JobTable table(harness.engine(), limits);
  const Seen kept = co_await WithTable(ctx, &table, SeeAge);
  EXPECT_THAT(kept, testing::ElementsAre(1, 0));
  co_return absl::OkStatus();
}

constexpr int64_t kLargeSpec = int64_t{1} << 20;

// A large job is waited for to be packed when memory is freed.
Async<absl::Status> FreeWhilePacking(Context context, JobTable* table, Seen*) {
  absl::StatusOr<std::shared_ptr<Job>> job = Submit(*table, JobHarness::Compile(Nodes(300)));
  absl::Status slept = co_await Sleep(context, seconds(2));
  if (!job.ok() || !slept.ok()) co_return job.ok() ? slept : job.status();
  job = Submit(*table, JobHarness::Compile(Nodes(1)), kLargeSpec);
  slept = co_await Sleep(context, milliseconds(1500));
  if (!job.ok() || !slept.ok()) co_return job.ok() ? slept : job.status();
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTableTest, FreedMemoryIsGivenBackWhateverElseIsWaitedFor) {
  JobHarness harness(executor, 1000);
  int trims = 0;
  JobTable table(harness.engine(), TableLimits(), [&trims] { ++trims; });
  const Seen none = co_await WithTable(ctx, &table, FreeWhilePacking);
  EXPECT_EQ(trims, 1);
  co_return absl::OkStatus();
}

Async<absl::Status> SubmitEverySecond(Context context, JobTable* table, Seen*) {
  for (int i = 0; i < 60; ++i) {
    absl::StatusOr<std::shared_ptr<Job>> job =
        Submit(*table, JobHarness::Compile(Nodes(1)), kLargeSpec);
    if (!job.ok()) co_return job.status();
    absl::Status slept = co_await Sleep(context, seconds(1));
    if (!slept.ok()) co_return slept;
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTableTest, GivingMemoryBackTakesAHundredthOfTheTime) {
  JobHarness harness(executor);
  int trims = 0;
  JobTable table(harness.engine(), TableLimits(), [&] {
    ++trims;
    executor.Stall(milliseconds(100));
  });
  const Seen none = co_await WithTable(ctx, &table, SubmitEverySecond);
  EXPECT_GE(trims, 2);
  EXPECT_LE(trims, 7);
  co_return absl::OkStatus();
}

// A log that has no memory to be packed the first time.
class ShortLog final : public EventLog {
 public:
  explicit ShortLog(std::shared_ptr<EventLog> log) : log_(std::move(log)) {}

  absl::Status Append(const v1::Event& event) override { return log_->Append(event); }
  absl::StatusOr<EventBatch> Read(int64_t after, size_t limit) const override {
    return log_->Read(after, limit);
  }
  void Pack() override {
    if (++packs_ == 1) throw std::bad_alloc();
    log_->Pack();
  }
  size_t size() const override { return log_->size(); }

 private:
  const std::shared_ptr<EventLog> log_;
  int packs_ = 0;
};

class ShortStore final : public Store {
 public:
  std::shared_ptr<EventLog> Open(std::string_view job) override {
    return std::make_shared<ShortLog>(store_.Open(job));
  }
  void Delete(std::string_view job) override { store_.Delete(job); }

 private:
  store::MemoryStore store_{1 << 20};
};

// Whether a job is packed 6 seconds after its end, and a minute later.
Async<absl::Status> SeeSecondTry(Context context, JobTable* table, Seen* seen) {
  absl::StatusOr<std::shared_ptr<Job>> job = Submit(*table, JobHarness::Compile(Nodes(300)));
  if (!job.ok()) co_return job.status();
  for (const int wait : {7, 60}) {
    absl::Status slept = co_await Sleep(context, seconds(wait));
    if (!slept.ok()) co_return slept;
    seen->push_back((*job)->packed() ? 1 : 0);
  }
  co_return absl::OkStatus();
}

SEEDED_TEST(JobTableTest, WhatCouldNotBePackedIsPackedLater) {
  ShortStore store;
  JobHarness harness(executor, 1000, nullptr, &store);
  JobTable table(harness.engine(), TableLimits());
  const Seen packed = co_await WithTable(ctx, &table, SeeSecondTry);
  EXPECT_THAT(packed, testing::ElementsAre(0, 1));
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery::engine
