// What becomes of jobs that the runtime has no more tasks for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "nursery/core/sleep.h"
#include "server/engine/job.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

// Runs jobs where no more than `tasks` live, the one that runs the root of the job among them.
class Limited {
 public:
  Limited(SeededExecutor& outer, int64_t tasks)
      : executor_(outer.Random(1'000'000), tasks), harness_(executor_) {}

  std::shared_ptr<Job> Run(const std::string& yaml) {
    std::shared_ptr<Job> job;
    const Time start = executor_.clock().Now();
    absl::Status ran = executor_.Run("job", [this, &yaml, &job](Context ctx) {
      return RunJob(std::move(ctx), &harness_, yaml, &job);
    });
    EXPECT_TRUE(ran.ok()) << ran;
    EXPECT_EQ(executor_.Stats().live, 0);
    took_ = executor_.clock().Now() - start;
    return job;
  }
  JobHarness& harness() { return harness_; }
  Duration took() const { return took_; }

 private:
  static Async<absl::Status> RunJob(Context ctx, JobHarness* harness, std::string yaml,
                                    std::shared_ptr<Job>* job) {
    *job = co_await harness->Run(ctx, std::move(yaml));
    co_return absl::OkStatus();
  }

  SeededExecutor executor_;
  JobHarness harness_;
  Duration took_{};
};

// Five nodes of a second each; the fourth cleans up.
std::string FiveNodes(const std::string& fields) {
  std::string yaml = "name: five\n" + fields + "nodes:\n";
  for (const std::string name : {"a", "b", "c", "d", "e"}) {
    yaml.append("  - {name: ").append(name);
    yaml.append(", call: {function: script, argument: 1s ").append(name).append("}");
    if (name == "d") yaml += ", finally: {call: {function: script, argument: 1s clean}}";
    yaml += "}\n";
  }
  return yaml;
}

auto NamesTheLimit(int tasks) {
  return AllOf(HasSubstr("limit of " + std::to_string(tasks) + " live tasks"),
               HasSubstr("limits.tasks of the server's configuration raises it"));
}

SEEDED_TEST(TaskLimitTest, ANodeWithoutATaskFailsByNameAndCleansUp) {
  Limited limited(executor, 4);
  std::shared_ptr<Job> job = limited.Run(FiveNodes(""));
  EXPECT_EQ(JobHarness::StateOf(*job, ""), "FAILED");
  EXPECT_EQ(JobHarness::StateOf(*job, "d"), "FAILED");
  EXPECT_EQ(JobHarness::StateOf(*job, "e"), "SKIPPED");
  EXPECT_EQ(limited.harness().Started("clean"), 1);
  EXPECT_EQ(limited.harness().Started("d"), 0);
  const v1::Job described = job->Describe();
  EXPECT_EQ(described.cause().origin_path(), "d");
  EXPECT_THAT(described.cause().reason(), NamesTheLimit(4));
  EXPECT_EQ(described.error_count(), 1);
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskLimitTest, TheOthersOfAGroupThatWaitsForAllRunOn) {
  Limited limited(executor, 4);
  std::shared_ptr<Job> job = limited.Run(FiveNodes("join: collect\n"));
  EXPECT_EQ(JobHarness::StateOf(*job, ""), "FAILED");
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(JobHarness::StateOf(*job, name), "SUCCEEDED");
  EXPECT_EQ(JobHarness::StateOf(*job, "d"), "FAILED");
  // While the one before it was cleaning up tasks may have ended.
  EXPECT_THAT(JobHarness::StateOf(*job, "e"), AnyOf("FAILED", "SUCCEEDED"));
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskLimitTest, AGroupWithALimitBelowItNeedsNoMore) {
  Limited limited(executor, 4);
  std::shared_ptr<Job> job = limited.Run(FiveNodes("limit: 3\n"));
  EXPECT_EQ(JobHarness::StateOf(*job, ""), "SUCCEEDED");
  co_return absl::OkStatus();
}

constexpr char kMap[] = R"(
name: map
map:
  items: {range: {to: 6}}
  workers: 6
  node: {call: {function: script, argument: 1s item}}
)";

SEEDED_TEST(TaskLimitTest, AMapMakesDoWithFewerWorkers) {
  Limited limited(executor, 3);
  std::shared_ptr<Job> job = limited.Run(kMap);
  EXPECT_EQ(JobHarness::StateOf(*job, ""), "SUCCEEDED");
  EXPECT_EQ(limited.harness().Started("item"), 6);
  EXPECT_EQ(limited.took(), seconds(3));
  co_return absl::OkStatus();
}

SEEDED_TEST(TaskLimitTest, AMapWithoutAWorkerFailsByName) {
  Limited limited(executor, 1);
  std::shared_ptr<Job> job = limited.Run(kMap);
  EXPECT_EQ(JobHarness::StateOf(*job, ""), "FAILED");
  EXPECT_EQ(limited.harness().Started("item"), 0);
  EXPECT_THAT(job->Describe().cause().reason(), NamesTheLimit(1));
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery::engine
