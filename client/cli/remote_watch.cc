// watch and logs.
#include <cinttypes>
#include <cstdio>

#include "client/cli/json.h"
#include "client/cli/remote.h"
#include "client/cli/render.h"

namespace nursery::cli {
namespace {

void Print(EventLines& lines, const v1::Event& event, bool json) {
  const std::string line = json ? EventJson(event) : lines.Add(event);
  if (!line.empty()) std::puts(line.c_str());
}

}  // namespace

int Watch(const JobOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::Job> job = FindJob(**connection, options.job);
  if (!job.ok()) return ComplainOf(job.status());
  v1::WatchJobRequest request;
  request.set_name(job->name());
  EventLines lines;
  const absl::Status done =
      (*connection)->WatchJob(request, [&](const v1::WatchJobResponse& message) {
        for (const v1::Event& event : message.events()) Print(lines, event, options.output.json);
        std::fflush(stdout);
      });
  if (!done.ok()) return ComplainOf(done);
  if (options.output.json) return kSucceeded;
  job = FindJob(**connection, job->id());
  if (!job.ok()) return ComplainOf(job.status());
  std::puts(RenderEnd(*job).c_str());
  return kSucceeded;
}

int Logs(const LogsOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::Job> job = FindJob(**connection, options.job);
  if (!job.ok()) return ComplainOf(job.status());
  v1::ReadOutputRequest request;
  request.set_name(job->name() + (options.path.empty() ? "" : "/nodes/" + options.path));
  request.set_follow(options.follow);
  request.set_attempt(options.attempt);
  if (options.lines >= 0) request.set_tail_lines(options.lines);
  const absl::Status done =
      (*connection)->ReadOutput(request, [](const v1::ReadOutputResponse& message) {
        for (const v1::OutputChunk& chunk : message.chunks()) {
          std::FILE* const to = chunk.stream() == v1::OUTPUT_STREAM_STDERR ? stderr : stdout;
          if (chunk.gap() > 0) std::fprintf(to, "\n[%" PRId64 " bytes not kept]\n", chunk.gap());
          std::fwrite(chunk.data().data(), 1, chunk.data().size(), to);
        }
        std::fflush(stdout);
      });
  return done.ok() ? kSucceeded : ComplainOf(done);
}

}  // namespace nursery::cli
