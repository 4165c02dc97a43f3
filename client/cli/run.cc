// run: a job file or a command, on a server of our own or on another.
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "client/cli/commands.h"
#include "client/cli/load.h"
#include "client/cli/remote.h"
#include "client/cli/run_driver.h"
#include "client/cli/text.h"
#include "nursery/core/executor.h"
#include "nursery/core/status.h"
#include "nursery/v1/job_service.pb.h"
#include "server/app/embedded.h"
#include "server/app/signals.h"
#include "server/spec/scalar.h"

extern char** environ;

namespace nursery::cli {
namespace {

int Complain(const absl::Status& status, int code) {
  std::fprintf(stderr, "error: %s\n", Printable(Message(status)).c_str());
  return code;
}

// The command's own code, as timeout(1) and env(1) pass it on.
int CodeOfCommand(const RunDriver& run) {
  if (run.result().state() == v1::NODE_STATE_DEADLINE_EXCEEDED) return kCommandDeadline;
  if (run.result().state() == v1::NODE_STATE_CANCELLED) return kCommandSignalled + run.signal();
  if (!run.last_attempt()) return kCommandNotRun;
  const v1::Attempt& attempt = *run.last_attempt();
  if (attempt.has_exit_code()) return attempt.exit_code();
  if (attempt.has_signal()) return kCommandSignalled + attempt.signal();
  switch (static_cast<absl::StatusCode>(attempt.status().code())) {
    case absl::StatusCode::kNotFound:
      return kCommandNotFound;
    case absl::StatusCode::kAborted:  // the warden died
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
      return kCommandNotRun;
    default:
      return kCommandNotExecutable;
  }
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  return variables;
}

absl::StatusOr<spec::LoadedJob> Load(const RunOptions& options) {
  const spec::CompileOptions compile =
      options.here ? app::Embedded::CompileOptions() : spec::CompileOptions();
  absl::StatusOr<spec::LoadedJob> loaded =
      options.file.empty() ? LoadCommand(options)
                           : LoadFile(options.file, options.parameters, compile);
  if (!loaded.ok() || options.timeout.empty()) return loaded;
  if (options.timeout == "none") return WithTimeout(*std::move(loaded), std::nullopt, compile);
  absl::StatusOr<std::chrono::nanoseconds> timeout = spec::ParseDuration(options.timeout);
  if (!timeout.ok()) return Annotate(timeout.status(), "--timeout");
  return WithTimeout(*std::move(loaded), *timeout, compile);
}

// Relative paths of a job start where the user is, if the server is on this machine.
absl::Status SetWorkdir(const RunOptions& options, v1::JobSpec* job) {
  const bool is_local = options.here || AddressOf(options.server).starts_with("unix:");
  if (!job->workdir().empty() || !is_local) return absl::OkStatus();
  char* const here = get_current_dir_name();
  if (here == nullptr) return ErrnoError(errno, "cannot tell the working directory");
  job->set_workdir(here);
  std::free(here);
  return absl::OkStatus();
}

absl::StatusOr<v1::RunJobRequest> RequestFor(const RunOptions& options, const v1::JobSpec& job) {
  v1::RunJobRequest request;
  // What failed is told with the result, stderr included.
  request.set_output(v1::OUTPUT_MODE_NONE);
  *request.mutable_job_spec() = job;
  NURSERY_RETURN_IF_ERROR(SetWorkdir(options, request.mutable_job_spec()));
  const bool lines = Display::FormFor(options) == Form::kLines;
  request.set_detail(lines ? v1::EVENT_DETAIL_NODES : v1::EVENT_DETAIL_JOB);
  return request;
}

// Enough for ourselves; a job needs three more for each program that runs.
absl::Status CheckOpenFiles() {
  constexpr rlim_t kNeeded = 64;
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= kNeeded) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted,
               "the limit of open files is " + std::to_string(limit.rlim_cur) + "; at least " +
                   std::to_string(kNeeded) + " are needed (ulimit -n)");
}

// The exit code if nothing was run.
int NotRun(const RunOptions& options) { return options.file.empty() ? kCommandNotRun : kFailed; }

bool IsSingleCommand(const RunOptions& options) {
  return options.file.empty() && options.each_line.empty();
}

// What a run's call is made on: an executor, or a server of our own.
using Host = std::function<absl::Status(const app::Embedded::Client& client)>;

int RunOn(const Host& host, client::Connection& connection, const RunOptions& options,
          v1::RunJobRequest request, app::Signals& signals) {
  Display display(Display::FormFor(options));
  RunDriver run(connection, std::move(request), signals, display);
  const absl::Status ran =
      host([&](Context context) { return RunDriver::Drive(std::move(context), &run); });
  if (run.result().id().empty()) {
    return options.file.empty() ? Complain(ran, kCommandNotRun) : ComplainOf(ran);
  }
  WarnOfLimits(run.result());
  const bool is_single = IsSingleCommand(options);
  const int code = is_single ? CodeOfCommand(run) : ExitCodeOf(run.result());
  // What a command itself says with its code needs no word of ours.
  const bool ours = code >= kCommandDeadline && code <= kCommandNotFound;
  display.Finish(run.nodes(), run.result(), !is_single || ours);
  return code;
}

int RunHere(const RunOptions& options, bool tells_limits, v1::RunJobRequest request,
            app::Signals& signals) {
  absl::Status files = CheckOpenFiles();
  if (!files.ok()) return Complain(files, NotRun(options));
  app::EmbeddedOptions embedded;
  embedded.environment = OwnEnvironment();
  embedded.slots = std::max(options.slots, options.workers);
  embedded.pass_stdin = IsSingleCommand(options);
  embedded.pass_output = options.file.empty();
  embedded.tells_limits = tells_limits;
  absl::StatusOr<std::unique_ptr<app::Embedded>> server = app::Embedded::Create(embedded);
  if (!server.ok()) return Complain(server.status(), NotRun(options));
  const auto connection = client::Connection::Over((*server)->Channel(), "this process");
  const Host host = [&](const app::Embedded::Client& client) { return (*server)->Run(client); };
  return RunOn(host, *connection, options, std::move(request), signals);
}

int RunThere(const RunOptions& options, v1::RunJobRequest request, app::Signals& signals) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  ThreadExecutor executor(1);
  const Host host = [&](const app::Embedded::Client& client) {
    return executor.Run("nursery run", client);
  };
  return RunOn(host, **connection, options, std::move(request), signals);
}

}  // namespace

int Run(const RunOptions& options) {
  absl::StatusOr<spec::LoadedJob> loaded = Load(options);
  if (!loaded.ok()) return Complain(loaded.status(), kUsage);
  for (const spec::Violation& warning : loaded->warnings) {
    std::fprintf(stderr, "warning: %s\n", spec::Format(warning, options.file).c_str());
  }
  if (loaded->job == nullptr) {
    PrintViolations(options.file, *loaded);
    return kUsage;
  }
  absl::StatusOr<v1::RunJobRequest> request = RequestFor(options, *loaded->spec);
  const bool tells_limits = loaded->job->has_tree_limits;
  // The request is what runs. What a million items have left behind in this thread's arena is of no
  // use to the threads of the server.
  *loaded = spec::LoadedJob();
  malloc_trim(0);
  if (!request.ok()) return Complain(request.status(), NotRun(options));
  // Before the first thread: a signal that one does not block would end the process.
  app::Signals signals({SIGINT, SIGTERM, SIGHUP});
  return options.here ? RunHere(options, tells_limits, *std::move(request), signals)
                      : RunThere(options, *std::move(request), signals);
}

}  // namespace nursery::cli
