#include "server/actions/exec.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/actions/exec_prepare.h"
#include "server/engine/bell.h"
#include "server/engine/limits.h"
#include "server/spec/scalar.h"

namespace nursery::actions {

using engine::ActionResult;
using engine::AttemptRequest;
using engine::BellReceiver;
using engine::BellSender;
using engine::Output;
using engine::Tick;

namespace {

// A full pipe, which is all that can be left once every process of the attempt is gone.
constexpr size_t kFinalDrain = 1 << 20;

// Collects the warden's reports on one attempt and wakes whoever waits for its end.
class Reports final : public warden::ProcessHandler {
 public:
  Reports(engine::AttemptObserver* observer, BellSender bell)
      : observer_(observer), bell_(std::move(bell)) {}

  void OnSpawned(pid_t pid) override {
    {
      MutexLock lock(mutex_);
      result_.pid = pid;
    }
    if (observer_ != nullptr) observer_->OnProcess(pid);
  }

  void OnExited(const warden::LeaderExit& exit) override {
    MutexLock lock(mutex_);
    exit_ = exit;
  }

  void OnSurvivor(const warden::Survivor& survivor) override {
    std::vector<engine::AttemptObserver::Survivor> survivors;
    {
      MutexLock lock(mutex_);
      engine::AttemptObserver::Survivor& each = survivors_.emplace_back();
      each.pid = survivor.pid;
      each.command = survivor.command;
      each.state = std::string(1, survivor.state);
      survivors = survivors_;
    }
    if (observer_ != nullptr) observer_->OnSurvivors(std::move(survivors));
  }

  void OnSpawnFailed(const absl::Status& why) override {
    MutexLock lock(mutex_);
    result_.status = why;
    End();
  }

  void OnLost(const absl::Status& why) override {
    MutexLock lock(mutex_);
    result_.status = why;
    result_.interrupted = true;
    End();
  }

  void OnGone(const warden::AttemptEnd& end) override {
    if (observer_ != nullptr) observer_->OnSurvivors({});
    MutexLock lock(mutex_);
    result_.leftovers = static_cast<int>(end.leftovers);
    result_.containment = warden::LevelName(end.level);
    result_.user_time = std::chrono::microseconds(end.usage.user_microseconds);
    result_.system_time = std::chrono::microseconds(end.usage.system_microseconds);
    result_.max_resident_bytes = static_cast<int64_t>(end.usage.max_rss_bytes);
    killed_ = end.killed;
    if (exit_) SetExit(*exit_);
    End();
  }

  bool ended() const {
    MutexLock lock(mutex_);
    return ended_;
  }

  // `cancelled`: SIGTERM was sent.
  ActionResult Take(bool cancelled) {
    MutexLock lock(mutex_);
    if (cancelled && exit_) {
      const bool by_kill = WIFSIGNALED(exit_->wait_status) && exit_->killed_by_us;
      result_.terminated = by_kill ? 0 : 1;
      result_.killed = (by_kill ? 1 : 0) + (killed_ ? result_.leftovers : 0);
    }
    return std::move(result_);
  }

 private:
  void SetExit(const warden::LeaderExit& exit) NURSERY_REQUIRES(mutex_) {
    if (WIFEXITED(exit.wait_status)) {
      result_.exit_code = WEXITSTATUS(exit.wait_status);
      if (*result_.exit_code == 0) return;
      result_.status =
          Error(absl::StatusCode::kUnknown, "exit code " + std::to_string(*result_.exit_code));
      return;
    }
    result_.signal = WTERMSIG(exit.wait_status);
    const char* name = sigabbrev_np(*result_.signal);
    std::string text = "killed by SIG" + std::string(name == nullptr ? "?" : name);
    if (*result_.signal == SIGKILL && !exit.killed_by_us) text += " from outside (out of memory?)";
    result_.status = Error(absl::StatusCode::kUnknown, text);
  }

  void End() NURSERY_REQUIRES(mutex_) {
    ended_ = true;
    bell_.TrySend(Tick()).IgnoreError();  // full: the waiter looks anyway
  }

  engine::AttemptObserver* const observer_;
  mutable Mutex mutex_;
  const BellSender bell_;
  ActionResult result_ NURSERY_GUARDED_BY(mutex_);
  std::optional<warden::LeaderExit> exit_ NURSERY_GUARDED_BY(mutex_);
  std::vector<engine::AttemptObserver::Survivor> survivors_ NURSERY_GUARDED_BY(mutex_);
  bool killed_ NURSERY_GUARDED_BY(mutex_) = false;
  bool ended_ NURSERY_GUARDED_BY(mutex_) = false;
};

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
  Attempt(warden::ProcessHost& the_host, const AttemptRequest& the_request)
      : host(the_host), request(the_request) {}

  warden::ProcessHost& host;
  const AttemptRequest& request;
  std::vector<Stream> streams;
  std::unique_ptr<Reports> reports;
  std::optional<BellReceiver> ended;
  warden::AttemptId id = 0;
  std::atomic<Time> last_output{Time()};
  bool cancelled = false;
  bool idle = false;
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

Time IdleDeadline(const Attempt& attempt) {
  return Later(attempt.last_output.load(std::memory_order_relaxed), attempt.request.idle_timeout);
}

// Waits for the end, or for the reason to bring it about.
Async<void> WaitWhileWanted(Context context, Attempt* attempt) {
  while (!attempt->reports->ended()) {
    const CancelScope wanted(context, IdleDeadline(*attempt), "idle_timeout");
    absl::StatusOr<Tick> tick = co_await attempt->ended->Receive(wanted.context());
    if (tick.ok()) continue;
    attempt->cancelled = context.cancelled();
    attempt->idle = !attempt->cancelled && context.Now() >= IdleDeadline(*attempt);
    if (attempt->cancelled || attempt->idle) co_return;
  }
}

// SIGTERM, the grace, SIGKILL; returns when all is gone.
Async<void> TakeDown(Context shield, Attempt* attempt) {
  attempt->host.Terminate(attempt->id);
  {
    const CancelScope grace(*attempt->request.kill, Later(shield.Now(), attempt->request.grace),
                            "grace");
    while (!attempt->reports->ended()) {
      absl::StatusOr<Tick> tick = co_await attempt->ended->Receive(grace.context());
      if (!tick.ok()) break;
    }
  }
  if (attempt->reports->ended()) co_return;
  attempt->host.Kill(attempt->id);
  while (!attempt->reports->ended()) {
    // Only the end of everything ends this wait.
    absl::StatusOr<Tick> tick = co_await attempt->ended->Receive(shield);
    if (!tick.ok()) co_return;
  }
}

Async<absl::Status> Drive(Group& group, Context context, Attempt* attempt,
                          const CancelScope* readers) {
  for (size_t i = 0; i < attempt->streams.size(); ++i) {
    absl::Status spawned =
        co_await group.Spawn(i == 0 ? "stdout" : "stderr", ReadStream, attempt, i);
    if (!spawned.ok()) co_return spawned;
  }
  co_await WaitWhileWanted(context, attempt);
  if (!attempt->reports->ended()) {
    const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
    co_await TakeDown(shield.context(), attempt);
  }
  // Whoever could write is gone. What is in the pipes is read below, without waiting for an end of
  // file that a descriptor handed elsewhere could delay for ever.
  readers->Cancel("the process has ended");
  co_return absl::OkStatus();
}

}  // namespace

Exec::Exec(warden::ProcessHost& host, ExecOptions options)
    : host_(host), options_(std::move(options)) {}

Async<ActionResult> Exec::Run(Context context, const spec::Exec& exec,
                              const AttemptRequest& request) {
  ActionResult result;
  Prepared prepared;
  result.status = Prepare(exec, request, options_, &prepared);
  if (!result.status.ok()) co_return result;
  const int64_t cap = exec.max_output.value_or(engine::kOutputSpool);
  auto output = std::make_shared<Output>(request.keep_whole_output, cap);
  auto errors = std::make_shared<Output>(/*keep_whole=*/false, cap);
  Attempt attempt(host_, request);
  attempt.last_output.store(context.Now());
  if (prepared.output.get() >= 0) attempt.streams.emplace_back(std::move(prepared.output), output);
  if (prepared.errors.get() >= 0) attempt.streams.emplace_back(std::move(prepared.errors), errors);
  auto [bell, ended] = MakeChannel<Tick>(1);
  attempt.ended.emplace(std::move(ended));
  attempt.reports = std::make_unique<Reports>(request.observer, std::move(bell));
  absl::StatusOr<warden::AttemptId> id =
      host_.Spawn(prepared.spec, std::move(prepared.stdio), attempt.reports.get());
  if (!id.ok()) {
    result.status = id.status();
    co_return result;
  }
  attempt.id = *id;
  const CancelScope readers = CancelScope::Shielded(context, Duration::max(), "");
  GroupOptions options;
  options.join = nursery::Join::Collect();
  GroupResult driven =
      co_await WithGroup(readers.context(), options, Drive, context, &attempt, &readers);
  NURSERY_CHECK(driven.status.ok() || readers.context().cancelled()) << driven.status;
  for (const Stream& stream : attempt.streams) stream.Read(kFinalDrain);
  result = attempt.reports->Take(attempt.cancelled || attempt.idle);
  if (attempt.idle) {
    result.idle = true;
    result.status = Error(
        absl::StatusCode::kDeadlineExceeded,
        "nothing written for " + spec::FormatDuration(request.idle_timeout) + " (idle_timeout)");
  }
  result.output = std::move(output);
  result.errors = exec.merge_output ? result.output : std::move(errors);
  co_return result;
}

Async<absl::Status> Exec::Serve(Context context) {
  for (;;) {
    absl::Status ready = co_await ReadReady(context, host_.fd());
    if (!ready.ok()) co_return absl::OkStatus();
    host_.OnReadable();
  }
}

}  // namespace nursery::actions
