#include <cstdio>

#include "client/cli/commands.h"
#include "client/cli/load.h"
#include "client/cli/remote.h"
#include "client/cli/text.h"
#include "nursery/core/status.h"
#include "nursery/core/task_profile.h"

namespace nursery::cli {
namespace {

absl::StatusOr<TaskProfile> ReadProfile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadInput(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<TaskProfile> profile = ParseTaskProfile(*text);
  if (profile.ok()) return profile;
  const std::string where = path == "-" ? "stdin" : path;
  return Error(profile.status().code(), where + ": " + std::string(Message(profile.status())) +
                                            "; take one with: nursery dump --aggregate");
}

int Diff(const std::string& before_path, const std::string& after_path) {
  if (before_path == "-" && after_path == "-") {
    return ComplainOf(Error(absl::StatusCode::kInvalidArgument,
                            "--diff: stdin has one dump; name a file for the other"));
  }
  const absl::StatusOr<TaskProfile> before = ReadProfile(before_path);
  if (!before.ok()) return ComplainOf(before.status());
  const absl::StatusOr<TaskProfile> after = ReadProfile(after_path);
  if (!after.ok()) return ComplainOf(after.status());
  // The files may hold what a terminal would obey.
  for (const std::string& line :
       PrintableLines(FormatTaskGrowth(DiffTaskProfiles(*before, *after)))) {
    std::puts(line.c_str());
  }
  return kSucceeded;
}

// What the options cannot have together; empty: nothing.
std::string Conflict(const DumpOptions& options) {
  if (options.aggregate && options.output.json) {
    return "--aggregate: is text only; leave out -o json";
  }
  if (!options.diff.empty() && (options.aggregate || options.only_stuck || options.output.json)) {
    return "--diff: reads two files and asks no server; leave out --aggregate, --stuck and -o json";
  }
  return "";
}

}  // namespace

int Dump(const DumpOptions& options) {
  const std::string conflict = Conflict(options);
  if (!conflict.empty()) return ComplainOf(Error(absl::StatusCode::kInvalidArgument, conflict));
  if (!options.diff.empty()) return Diff(options.diff.front(), options.diff.back());
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  v1::DumpTasksRequest request;
  request.set_aggregate(options.aggregate);
  request.set_stuck_only(options.only_stuck);
  if (options.output.json) request.set_format(v1::DUMP_FORMAT_JSON);
  const absl::Status done =
      (*connection)->DumpTasks(request, [](const v1::DumpTasksResponse& message) {
        std::fwrite(message.chunk().data(), 1, message.chunk().size(), stdout);
      });
  return done.ok() ? kSucceeded : ComplainOf(done);
}

}  // namespace nursery::cli
