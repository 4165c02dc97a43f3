#include "tests/engine/job_harness.h"

#include <algorithm>
#include <sstream>

#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/spec/load.h"
#include "server/spec/scalar.h"

namespace nursery::engine {

JobHarness::JobHarness(SeededExecutor& executor, int64_t slots, actions::ExecRunner* exec,
                       Store* store)
    : actions_(functions_, exec) {
  EXPECT_TRUE(functions_
                  .Register("script",
                            [this](Context context, std::string argument) {
                              return Script(std::move(context), std::move(argument));
                            })
                  .ok());
  EXPECT_TRUE(functions_
                  .Register("echo",
                            [this](Context context, std::string argument) {
                              return Echo(std::move(context), std::move(argument));
                            })
                  .ok());
  EngineOptions options;
  options.clock = &executor.clock();
  options.actions = &actions_;
  options.store = store == nullptr ? &store_ : store;
  options.pools = {{"default", slots}};
  options.seed = executor.Random(1 << 30);
  engine_ = std::make_unique<Engine>(options);
}

Async<absl::StatusOr<std::string>> JobHarness::Script(Context context, std::string argument) {
  std::istringstream words(argument);
  std::string what;
  std::string tag;
  words >> what >> tag;
  trace_.push_back("start " + tag);
  const bool fails = what.ends_with('!');
  if (fails) what.pop_back();
  absl::Status slept;
  if (what == "-") {
    slept = co_await UntilCancelled(context);
  } else {
    absl::StatusOr<std::chrono::nanoseconds> delay = spec::ParseDuration(what);
    EXPECT_TRUE(delay.ok()) << argument;
    slept = co_await Sleep(context, *delay);
  }
  trace_.push_back((slept.ok() ? "end " : "cancelled ") + tag);
  if (!slept.ok()) co_return slept;
  if (fails) co_return Error(absl::StatusCode::kUnknown, "told to fail");
  co_return "output of " + tag + "\n";
}

Async<absl::StatusOr<std::string>> JobHarness::Echo(Context, std::string argument) {
  echoed_.push_back(argument);
  co_return argument;
}

std::shared_ptr<const spec::Job> JobHarness::Compile(const std::string& yaml) {
  spec::LoadedJob loaded = spec::LoadJobText(yaml, "test.yaml", "/tmp", spec::LoadOptions());
  NURSERY_CHECK(loaded.job != nullptr) << spec::Describe("test.yaml", loaded);
  return loaded.job;
}

std::shared_ptr<Job> JobHarness::Admit(const std::string& yaml) {
  absl::StatusOr<std::shared_ptr<Job>> job = engine_->Admit(Compile(yaml), JobOptions());
  EXPECT_TRUE(job.ok()) << job.status();
  return *job;
}

Async<std::shared_ptr<Job>> JobHarness::Run(Context context, std::string yaml) {
  std::shared_ptr<Job> job = Admit(yaml);
  co_await job->Run(context);
  EXPECT_TRUE(job->done());
  // Nothing that was started is left.
  const auto count = [this](std::string_view what) {
    return std::count_if(trace_.begin(), trace_.end(),
                         [&](const std::string& line) { return line.starts_with(what); });
  };
  EXPECT_EQ(count("start"), count("end") + count("cancelled"));
  co_return job;
}

int JobHarness::Started(const std::string& tag) const {
  return static_cast<int>(std::count(trace_.begin(), trace_.end(), "start " + tag));
}

std::map<std::string, std::string> JobHarness::Ends(const Job& job) {
  std::map<std::string, std::string> ends;
  for (const NodeView& view : job.View(1000)) ends[view.path] = Name(view.state);
  return ends;
}

std::string JobHarness::StateOf(const Job& job, const std::string& path) {
  const auto ends = Ends(job);
  const auto found = ends.find(path);
  return found == ends.end() ? "no such node" : found->second;
}

}  // namespace nursery::engine
