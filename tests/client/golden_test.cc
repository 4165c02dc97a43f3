// Pictures of jobs that run, each a test case: tests/client/golden holds NAME.yaml, whose first
// line says what is looked at, and NAME.expect. "# end" is the last picture with the lines of a
// pipe and the errors, "# at 2s" the tree at that time. "width N", "height N" and "colour" may
// follow.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/cli/node_view.h"
#include "client/cli/render.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "server/rpc/describe_node.h"
#include "server/spec/scalar.h"
#include "tests/engine/job_harness.h"

namespace nursery::cli {
namespace {

namespace fs = std::filesystem;
using engine::JobHarness;

// Whatever the order of what happens at one time, the picture is the same.
constexpr uint64_t kSeeds = 20;

std::string Content(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Look {
  explicit Look(const std::string& yaml) {
    std::istringstream words(yaml.substr(0, yaml.find('\n')));
    std::string word;
    words >> word;
    while (words >> word) {
      if (word == "colour") options.colour = true;
      if (word == "width") words >> options.width;
      if (word == "height") words >> options.height;
      if (word != "at") continue;
      words >> word;
      at = *spec::ParseDuration(word);
    }
  }

  Duration at = Duration::max();  // max: when it has ended
  RenderOptions options;
};

std::string Lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// As the command line gets them: in the contract's messages.
std::vector<engine::NodeView> NodesOf(const engine::Job& job, const v1::Job& described) {
  std::vector<engine::NodeView> nodes;
  for (const engine::NodeView& node : job.View(1000)) {
    nodes.push_back(ViewOf(rpc::ToProto(node, job.id()), described));
  }
  return nodes;
}

std::string Tree(const engine::Job& job, const RenderOptions& options) {
  const v1::Job described = job.Describe();
  return Lines(RenderTree(NodesOf(job, described), described, options));
}

std::string EndOf(const engine::Job& job, const RenderOptions& options) {
  v1::Job described = job.Describe();
  described.set_id("01JD9K3M5XW0000000000000000");
  EventLines events;
  std::string lines;
  const absl::StatusOr<engine::EventBatch> batch = job.Events(0, 10'000);
  for (const v1::Event& event : batch->events) {
    if (const std::string line = events.Add(event); !line.empty()) lines += line + "\n";
  }
  for (const std::string& line : events.AddSkipped(NodesOf(job, described))) lines += line + "\n";
  return Tree(job, options) + "== in a pipe\n" + lines + RenderEnd(described) + "\n== errors\n" +
         RenderErrors(described);
}

Async<absl::Status> RunJob(Context context, std::shared_ptr<engine::Job> job) {
  co_await job->Run(context);
  co_return absl::OkStatus();
}

Async<absl::Status> LookWhileItRuns(Group& group, std::shared_ptr<engine::Job> job,
                                    const Look* look, std::string* picture) {
  absl::Status spawned = co_await group.Spawn("job", RunJob, job);
  // A nanosecond later, all that happens at that time has happened.
  absl::Status slept = co_await Sleep(group.context(), look->at + Duration(1));
  *picture = Tree(*job, look->options);
  engine::CancelRequest enough;
  job->Cancel(enough).IgnoreError();
  co_return slept;
}

Async<absl::Status> Draw(Context context, SeededExecutor* executor, const std::string* yaml,
                         std::string* picture) {
  JobHarness harness(*executor, /*slots=*/4);
  const Look look(*yaml);
  if (look.at == Duration::max()) {
    std::shared_ptr<engine::Job> job = co_await harness.Run(context, *yaml);
    *picture = EndOf(*job, look.options);
    co_return absl::OkStatus();
  }
  std::shared_ptr<engine::Job> job = harness.Admit(*yaml);
  GroupOptions options;
  GroupResult result = co_await WithGroup(context, options, LookWhileItRuns, job, &look, picture);
  co_return result.status;
}

class GoldenTest : public testing::TestWithParam<fs::path> {};

TEST_P(GoldenTest, IsAsExpected) {
  const std::string yaml = Content(GetParam());
  const std::string expected = Content(fs::path(GetParam()).replace_extension(".expect"));
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SeededExecutor executor(seed);
    std::string picture;
    absl::Status ran = executor.Run("golden", [&](Context context) {
      return Draw(std::move(context), &executor, &yaml, &picture);
    });
    EXPECT_TRUE(ran.ok()) << ran;
    ASSERT_EQ(picture, expected) << "seed " << seed << ":\n" << picture;
  }
}

std::vector<fs::path> JobFiles() {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator("tests/client/golden")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Pictures, GoldenTest, testing::ValuesIn(JobFiles()), [](const auto& info) {
  std::string name = info.param.stem();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace nursery::cli
