#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/load.h"
#include "client/cli/text.h"
#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/v1/job.pb.h"
#include "server/app/embedded.h"
#include "server/app/signals.h"
#include "server/engine/convert.h"
#include "server/spec/scalar.h"

extern char** environ;

namespace nursery::cli {
namespace {

int Complain(const absl::Status& status, int code) {
  std::fprintf(stderr, "error: %s\n", Printable(Message(status)).c_str());
  return code;
}

// What the user watches and controls the run with.
struct Terminal {
  explicit Terminal(Form form) : display(form) {}

  // Before the first thread: a signal that nobody blocks would end the process.
  app::Signals signals{{SIGINT, SIGTERM, SIGHUP}};
  Display display;
  std::atomic<int> signal{SIGINT};  // the first that came
};

// Ctrl-C cancels, a second one kills, a third one gives up waiting.
Async<absl::Status> HandleSignals(Context context, Terminal* terminal,
                                  std::shared_ptr<engine::Job> job) {
  for (int count = 1;; ++count) {
    absl::StatusOr<int> number = co_await terminal->signals.Next(context);
    if (!number.ok()) co_return absl::OkStatus();
    if (count == 1) terminal->signal = *number;
    if (count > 2) _exit(kCommandSignalled + *number);
    engine::CancelRequest request;
    request.reason = *number == SIGINT ? "Ctrl-C" : "SIG" + std::string(sigabbrev_np(*number));
    request.actor = "terminal";
    request.kill = count == 2;
    terminal->display.OnSignal(count);
    // A job that has just ended is no error here.
    job->Cancel(request).IgnoreError();
  }
}

// As a hang-up: who cannot see the job any more does not want it.
void CancelAbandoned(engine::Job& job) {
  engine::CancelRequest request;
  request.reason = "nobody reads stdout";
  request.actor = "terminal";
  job.Cancel(request).IgnoreError();
}

Async<absl::Status> ShowProgress(Context context, Terminal* terminal,
                                 std::shared_ptr<engine::Job> job) {
  Display* const display = &terminal->display;
  const engine::BellReceiver bell = job->Watch();
  for (;;) {
    display->Update(*job);
    if (display->abandoned()) {
      CancelAbandoned(*job);
      co_return absl::OkStatus();
    }
    // Redraws also while nothing happens: times go on.
    const CancelScope patience(context, Later(context.Now(), display->period()), "redraw");
    absl::StatusOr<engine::Tick> rung = co_await bell.Receive(patience.context());
    if (context.cancelled()) co_return absl::OkStatus();
    if (!rung.ok() || !display->live()) continue;
    absl::Status slept = co_await Sleep(context, display->period());
    if (!slept.ok()) co_return absl::OkStatus();
  }
}

Async<absl::Status> SpawnWatchers(Group& group, Terminal* terminal,
                                  std::shared_ptr<engine::Job> job) {
  absl::Status handling = co_await group.Spawn("signals", HandleSignals, terminal, job);
  absl::Status showing = co_await group.Spawn("display", ShowProgress, terminal, job);
  co_return handling.ok() ? showing : handling;
}

Async<absl::Status> WatchJob(Context context, Terminal* terminal,
                             std::shared_ptr<engine::Job> job) {
  GroupOptions options;
  options.join = Join::Collect();
  GroupResult result = co_await WithGroup(context, options, SpawnWatchers, terminal, job);
  co_return result.status;
}

// The command's own code, as timeout(1) and env(1) pass it on.
int CodeOfCommand(const v1::Job& job, const engine::Job& run, int signal) {
  if (job.state() == v1::NODE_STATE_DEADLINE_EXCEEDED) return kCommandDeadline;
  if (job.state() == v1::NODE_STATE_CANCELLED) return kCommandSignalled + signal;
  absl::StatusOr<engine::EventBatch> events = run.Events(0, 1000);
  if (!events.ok()) return kCommandNotRun;
  for (auto event = events->events.rbegin(); event != events->events.rend(); ++event) {
    if (!event->has_attempt_ended()) continue;
    const v1::Attempt& attempt = event->attempt_ended().attempt();
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
  return kCommandNotRun;
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  return variables;
}

absl::StatusOr<spec::LoadedJob> Load(const RunOptions& options) {
  absl::StatusOr<spec::LoadedJob> loaded =
      options.file.empty()
          ? LoadCommand(options)
          : LoadFile(options.file, options.parameters, app::Embedded::CompileOptions());
  if (!loaded.ok() || options.timeout.empty()) return loaded;
  if (options.timeout == "none") return WithTimeout(*std::move(loaded), std::nullopt);
  absl::StatusOr<std::chrono::nanoseconds> timeout = spec::ParseDuration(options.timeout);
  if (!timeout.ok()) return Annotate(timeout.status(), "--timeout");
  return WithTimeout(*std::move(loaded), *timeout);
}

// Relative paths of a job start where the user is.
absl::StatusOr<std::string> WorkdirOf(const spec::Job& job) {
  if (job.workdir == "scratch") return std::string();
  if (!job.workdir.empty()) return job.workdir;
  char* const here = get_current_dir_name();
  if (here == nullptr) return ErrnoError(errno, "cannot tell the working directory");
  std::string directory = here;
  std::free(here);
  return directory;
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

}  // namespace

int Run(const RunOptions& options) {
  const bool is_command = options.file.empty();
  absl::StatusOr<spec::LoadedJob> loaded = Load(options);
  if (!loaded.ok()) return Complain(loaded.status(), kUsage);
  for (const spec::Violation& warning : loaded->warnings) {
    std::fprintf(stderr, "warning: %s\n", spec::Format(warning, options.file).c_str());
  }
  if (loaded->job == nullptr) {
    PrintViolations(options.file, *loaded);
    return kUsage;
  }
  const int not_run = is_command ? kCommandNotRun : kFailed;
  absl::Status files = CheckOpenFiles();
  if (!files.ok()) return Complain(files, not_run);
  Terminal terminal(Display::FormFor(options));
  app::EmbeddedOptions embedded;
  embedded.environment = OwnEnvironment();
  embedded.slots = std::max(options.slots, options.workers);
  embedded.pass_stdin = is_command && options.each_line.empty();
  embedded.pass_output = is_command;
  absl::StatusOr<std::unique_ptr<app::Embedded>> server = app::Embedded::Create(embedded);
  if (!server.ok()) return Complain(server.status(), not_run);
  absl::StatusOr<std::string> workdir = WorkdirOf(*loaded->job);
  if (!workdir.ok()) return Complain(workdir.status(), not_run);
  engine::JobOptions job_options;
  job_options.workdir = *workdir;
  absl::StatusOr<std::shared_ptr<engine::Job>> job =
      (*server)->engine().Admit(loaded->job, job_options);
  if (!job.ok()) return Complain(job.status(), kUsage);
  absl::Status ran = (*server)->Run(*job, [&](Context context, std::shared_ptr<engine::Job> of) {
    return WatchJob(std::move(context), &terminal, std::move(of));
  });
  if (!ran.ok()) return Complain(ran, kFailed);
  const v1::Job result = (*job)->Describe();
  const bool is_single = is_command && options.each_line.empty();
  const int code = is_single ? CodeOfCommand(result, **job, terminal.signal) : ExitCodeOf(result);
  // What a command itself says with its code needs no word of ours.
  const bool ours = code >= kCommandDeadline && code <= kCommandNotFound;
  terminal.display.Finish(**job, result, !is_single || ours);
  return code;
}

}  // namespace nursery::cli
