// watch, logs, and run --server.
#include <cinttypes>
#include <csignal>
#include <cstdio>

#include "client/cli/json.h"
#include "client/cli/load.h"
#include "client/cli/remote.h"
#include "client/cli/render.h"
#include "nursery/core/blocking.h"
#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "server/app/signals.h"
#include "server/spec/load.h"
#include "server/spec/scalar.h"

namespace nursery::cli {
namespace {

void Print(EventLines& lines, const v1::Event& event, bool json) {
  const std::string line = json ? EventJson(event) : lines.Add(event);
  if (!line.empty()) std::puts(line.c_str());
}

// A run whose call another thread reads.
struct RemoteRun {
  explicit RemoteRun(client::Connection& the_connection) : connection(the_connection) {}

  client::Connection& connection;
  v1::RunJobRequest request;
  app::Signals* signals = nullptr;
  bool json = false;
  v1::Job result;
  Mutex mutex;
  std::string name NURSERY_GUARDED_BY(mutex);  // of the job, once it is known
};

absl::Status ReadRun(RemoteRun* run) {
  EventLines lines;
  return run->connection.RunJob(run->request, [&](const v1::RunJobResponse& message) {
    if (!message.job().empty()) {
      MutexLock lock(run->mutex);
      run->name = message.job();
    }
    if (!run->json) {
      for (const v1::Event& event : message.events()) Print(lines, event, false);
    }
    std::fflush(stdout);
    if (message.has_result()) run->result = message.result();
  });
}

absl::Status CancelRun(RemoteRun* run, bool kill) {
  v1::CancelJobRequest request;
  {
    MutexLock lock(run->mutex);
    request.set_name(run->name);
  }
  request.set_reason("Ctrl-C");
  if (kill) request.set_mode(v1::CANCEL_MODE_KILL);
  return run->connection.CancelJob(request).status();
}

// Ctrl-C asks the server; the result comes with the stream, which goes on.
Async<absl::Status> PassSignals(Context context, RemoteRun* run) {
  for (int count = 1;; ++count) {
    absl::StatusOr<int> number = co_await run->signals->Next(context);
    if (!number.ok()) co_return absl::OkStatus();
    if (count > 2) _exit(kCommandSignalled + *number);
    std::fputs(count == 1 ? "cancelling; once more kills at once\n" : "killing\n", stderr);
    auto cancel = [run, kill = count == 2] { return CancelRun(run, kill); };
    absl::Status asked = co_await RunBlocking(context, std::move(cancel));
    if (!asked.ok()) std::fprintf(stderr, "error: %s\n", std::string(Message(asked)).c_str());
  }
}

Async<absl::Status> ReadAndPass(Group& group, RemoteRun* run) {
  const CancelScope passing(group.context());
  absl::Status spawned = group.TrySpawn(
      "signals",
      [](Context, RemoteRun* of, Context until) { return PassSignals(std::move(until), of); }, run,
      passing.context());
  if (!spawned.ok()) co_return spawned;
  auto read = [run] { return ReadRun(run); };
  absl::Status done = co_await RunBlocking(group.context(), std::move(read));
  passing.Cancel("the run has ended");
  co_return done;
}

Async<absl::Status> DriveRun(Context context, RemoteRun* run) {
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(context, collect, ReadAndPass, run);
  co_return result.status;
}

}  // namespace

int RunRemotely(const RunOptions& options) {
  absl::StatusOr<spec::LoadedJob> loaded =
      LoadFile(options.file, options.parameters, spec::CompileOptions());
  if (!loaded.ok()) return ComplainOf(loaded.status());
  if (loaded->job == nullptr) {
    PrintViolations(options.file, *loaded);
    return kUsage;
  }
  // Before gRPC's threads: a signal that one of them does not block would end the process.
  app::Signals signals({SIGINT, SIGTERM, SIGHUP});
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  RemoteRun run(**connection);
  *run.request.mutable_job_spec() = *loaded->spec;
  // What failed is told with the result, stderr included.
  run.request.set_output(v1::OUTPUT_MODE_NONE);
  run.json = options.output.json;
  run.signals = &signals;
  ThreadExecutor executor(1);
  const absl::Status done =
      executor.Run("run", [&](Context context) { return DriveRun(std::move(context), &run); });
  if (run.result.id().empty()) return ComplainOf(done);
  if (run.json) {
    std::puts(JobJson(run.result).c_str());
    return ExitCodeOf(run.result);
  }
  std::puts(RenderEnd(run.result).c_str());
  std::fputs(RenderErrors(run.result).c_str(), stderr);
  if (run.result.has_last_cancel()) {
    std::fputs(RenderReceipt(run.result.last_cancel(), run.result.display_name()).c_str(), stderr);
  }
  return ExitCodeOf(run.result);
}

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
