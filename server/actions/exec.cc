#include "server/actions/exec.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "nursery/core/blocking.h"
#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/actions/exec_prepare.h"
#include "server/engine/limits.h"
#include "server/spec/json.h"
#include "server/spec/scalar.h"
#include "server/warden/process_tree.h"
#include "server/warden/run_process.h"

namespace nursery::actions {

using engine::ActionResult;
using engine::AttemptRequest;
using engine::Output;

namespace {

// A full pipe, which is all that can be left once every process of the attempt is gone.
constexpr size_t kFinalDrain = 1 << 20;

engine::Survivors InEnginesWords(const warden::Survivors& survivors) {
  engine::Survivors words;
  words.count = survivors.total;
  for (const warden::Survivor& each : survivors.named) {
    words.named.push_back({each.pid, each.command, warden::StateName(each.state)});
  }
  return words;
}

// Passes the warden's words on in the engine's.
class Reporter final : public warden::ProcessObserver {
 public:
  explicit Reporter(engine::AttemptObserver& observer) : observer_(observer) {}

  void OnProcess(pid_t pid) override { observer_.OnProcess(pid); }
  void OnSurvivors(const warden::Survivors& alive) override {
    observer_.OnSurvivors(InEnginesWords(alive));
    left_ = alive.total > 0;
  }
  void OnEscaped(const warden::Survivors& escaped) override { escaped_ = escaped; }
  // What is told of them is of no use once they are gone.
  void OnEnd() {
    if (left_) observer_.OnSurvivors({});
  }
  const warden::Survivors& escaped() const { return escaped_; }

 private:
  engine::AttemptObserver& observer_;
  bool left_ = false;
  warden::Survivors escaped_;
};

// What is said of a SIGKILL that was not ours. The kernel tells of a cgroup with a controller of
// memory whether it was its own, and by whose limit; elsewhere that is the most likely of all.
std::string OutsideText(const warden::MemoryFacts& memory, const spec::Exec& exec) {
  if (!memory.out_of_memory) {
    return memory.peak_bytes > 0 ? " from outside" : " from outside (out of memory?)";
  }
  if (exec.options->limits == nullptr || !exec.options->limits->memory) return ": out of memory";
  if (!memory.by_own_limit) {
    return ": out of memory, of a cgroup above it or of the machine, and not by its limits.memory";
  }
  return ": out of memory, with limits.memory of " + std::to_string(*exec.options->limits->memory) +
         " bytes";
}

void SetExit(const warden::ProcessResult& ran, const spec::Exec& exec, ActionResult* result) {
  const warden::LeaderExit& exit = ran.exit;
  const warden::MemoryFacts& memory = ran.end.memory;
  result->oom = memory.out_of_memory;
  if (WIFEXITED(exit.wait_status)) {
    result->exit_code = WEXITSTATUS(exit.wait_status);
    if (*result->exit_code == 0) return;
    std::string text = "exit code " + std::to_string(*result->exit_code);
    if (memory.out_of_memory) text += "; a process that it had started ran out of memory";
    result->status = Error(absl::StatusCode::kUnknown, text);
    return;
  }
  result->signal = WTERMSIG(exit.wait_status);
  const char* name = sigabbrev_np(*result->signal);
  std::string text = "killed by SIG" + std::string(name == nullptr ? "?" : name);
  if (*result->signal == SIGKILL && !exit.killed_by_us) text += OutsideText(memory, exec);
  result->status = Error(absl::StatusCode::kUnknown, text);
}

ActionResult ResultOf(const absl::StatusOr<warden::ProcessResult>& ran, const spec::Exec& exec) {
  ActionResult result;
  if (!ran.ok()) {
    result.status = ran.status();
    result.interrupted = absl::IsAborted(ran.status());
    return result;
  }
  result.pid = ran->pid;
  result.containment = warden::LevelName(ran->end.level);
  result.user_time = std::chrono::microseconds(ran->end.usage.user_microseconds);
  result.system_time = std::chrono::microseconds(ran->end.usage.system_microseconds);
  result.max_resident_bytes = static_cast<int64_t>(ran->end.usage.max_rss_bytes);
  result.leftovers = static_cast<int>(ran->end.leftovers);
  result.peak_memory_bytes = static_cast<int64_t>(ran->end.memory.peak_bytes);
  for (size_t i = 0; i < warden::kTreeLimitCount; ++i) {
    const auto limit = static_cast<warden::TreeLimit>(i);
    if (!Contains(ran->end.not_held, limit)) continue;
    result.limits_not_enforced.emplace_back(warden::TreeLimitName(limit));
  }
  SetExit(*ran, exec, &result);
  if (!ran->terminated && !ran->escalated) return result;
  result.terminated = static_cast<int>(ran->end.toll.terminated);
  result.killed = static_cast<int>(ran->end.toll.killed);
  return result;
}

// One stream of the process, from its pipe into its Output.
struct Stream {
  Stream(warden::UniqueFd the_fd, std::shared_ptr<Output> the_output)
      : fd(std::move(the_fd)), output(std::move(the_output)) {}

  // Reads what is there, at most `limit`. False at the end of the stream.
  bool Read(size_t limit) const {
    char buffer[16 << 10];
    for (size_t done = 0; done < limit;) {
      const ssize_t got = read(fd.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      output->Append(std::string_view(buffer, static_cast<size_t>(got)));
      done += static_cast<size_t>(got);
    }
    return true;
  }

  warden::UniqueFd fd;
  std::shared_ptr<Output> output;
};

// The attempt while it runs.
struct Attempt {
  Attempt(const Context& context, const AttemptRequest& the_request)
      : request(the_request),
        wanted(context),
        readers(CancelScope::Shielded(context, Duration::max(), "")),
        last_output(context.Now()) {}

  const AttemptRequest& request;
  Prepared prepared;
  std::vector<Stream> streams;
  const CancelScope wanted;   // cancelled: take it down
  const CancelScope readers;  // what lives exactly as long as the process
  std::atomic<Time> last_output;
  std::atomic<bool> idle{false};
  absl::StatusOr<warden::ProcessResult> ran;
  warden::Survivors escaped;
};

Async<absl::Status> ReadStream(Context context, Attempt* attempt, size_t index) {
  const Stream& stream = attempt->streams[index];
  for (;;) {
    absl::Status ready = co_await ReadReady(context, stream.fd.get());
    if (!ready.ok()) co_return absl::OkStatus();
    attempt->last_output.store(context.Now(), std::memory_order_relaxed);
    // A share at a time, so that one loud process does not keep a scheduler thread.
    if (!stream.Read(256 << 10)) co_return absl::OkStatus();
  }
}

// Takes the attempt down when nothing was written for its idle timeout.
Async<absl::Status> WatchIdle(Context context, Attempt* attempt) {
  for (;;) {
    const Time deadline =
        Later(attempt->last_output.load(std::memory_order_relaxed), attempt->request.idle_timeout);
    if (context.Now() >= deadline) break;
    absl::Status slept = co_await SleepUntil(context, deadline);
    if (!slept.ok()) co_return absl::OkStatus();
  }
  attempt->idle.store(true);
  attempt->wanted.Cancel("idle_timeout");
  co_return absl::OkStatus();
}

absl::Status CheckJson(const Output& output) {
  absl::StatusOr<std::string> text = output.Whole();
  if (!text.ok()) return text.status();
  if (spec::IsJson(*text)) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition,
               "its output is not one JSON value, as output.json wants");
}

Async<absl::Status> Drive(Group& group, warden::ProcessHost* host, Attempt* attempt) {
  for (size_t i = 0; i < attempt->streams.size(); ++i) {
    const char* name = i == 0 ? "stdout" : "stderr";
    absl::Status spawned = co_await group.Spawn(name, ReadStream, attempt, i);
    if (!spawned.ok()) co_return spawned;
  }
  if (attempt->request.idle_timeout != spec::TimeLimit::kUnlimited) {
    absl::Status spawned = co_await group.Spawn("idle timeout", WatchIdle, attempt);
    if (!spawned.ok()) co_return spawned;
  }
  Reporter reporter(*attempt->request.observer);
  warden::TakeDown take_down(attempt->request.grace);
  take_down.kill = attempt->request.kill;
  attempt->ran = co_await warden::RunProcess(
      attempt->wanted.context(), host, std::move(attempt->prepared.spec),
      std::move(attempt->prepared.stdio), take_down, &reporter);
  reporter.OnEnd();
  attempt->escaped = reporter.escaped();
  // Whoever could write is gone. What is in the pipes is read below, without waiting for an end of
  // file that a descriptor handed elsewhere could delay for ever.
  attempt->readers.Cancel("the process has ended");
  co_return absl::OkStatus();
}

// Of its directory, which may be large.
Async<void> LetGo(Context context, Attempt* attempt) {
  ScratchDirectory* const scratch = &attempt->prepared.scratch;
  // At `group` somebody may be left who knows it.
  const bool is_unknown = attempt->ran.ok() && attempt->ran->end.level >= warden::Level::kSubreaper;
  if (is_unknown && scratch->TryReuse()) co_return;
  const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
  auto remove = [scratch] {
    scratch->Remove();
    return absl::OkStatus();
  };
  absl::Status removed = co_await RunBlocking(shield.context(), std::move(remove));
  static_cast<void>(removed);
}

}  // namespace

Exec::Exec(warden::ProcessHost& host, ExecOptions options)
    : host_(host), options_(std::move(options)) {}

Async<ActionResult> Exec::Run(Context context, const spec::Exec& exec,
                              const AttemptRequest& request) {
  // To prepare a process takes a good part of a millisecond.
  co_await OnWorker();
  Attempt attempt(context, request);
  ActionResult result;
  result.status = Prepare(exec, request, options_, &scratch_, &attempt.prepared);
  if (!result.status.ok()) co_return result;
  const int64_t cap =
      std::min(exec.options->max_output.value_or(options_.max_output), options_.max_output);
  auto output =
      std::make_shared<Output>(request.keep_whole_output || exec.options->json_output, cap);
  auto errors =
      exec.options->merge_output ? output : std::make_shared<Output>(/*keep_whole=*/false, cap);
  request.observer->OnOutput(output, errors);
  for (auto& [fd, into] :
       {std::pair(&attempt.prepared.output, output), std::pair(&attempt.prepared.errors, errors)}) {
    if (fd->get() >= 0) attempt.streams.emplace_back(std::move(*fd), into);
  }
  GroupOptions options;
  options.join = nursery::Join::Collect();
  options.beyond_max_tasks = true;  // the slots of its pool bound them
  GroupResult driven =
      co_await WithGroup(attempt.readers.context(), options, Drive, &host_, &attempt);
  NURSERY_CHECK(attempt.readers.context().cancelled()) << driven.status;
  for (const Stream& stream : attempt.streams) stream.Read(kFinalDrain);
  result = ResultOf(attempt.ran, exec);
  result.escaped = InEnginesWords(attempt.escaped);
  co_await LetGo(context, &attempt);
  if (attempt.idle) {
    result.idle = true;
    result.status = Error(
        absl::StatusCode::kDeadlineExceeded,
        "nothing written for " + spec::FormatDuration(request.idle_timeout) + " (idle_timeout)");
  }
  if (exec.options->json_output && result.status.ok()) result.status = CheckJson(*output);
  result.output = output;
  result.errors = errors;
  co_return result;
}

}  // namespace nursery::actions
