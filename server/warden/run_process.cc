#include "server/warden/run_process.h"

#include <utility>

#include "nursery/core/channel.h"
#include "nursery/core/check.h"
#include "nursery/core/io.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/status.h"

namespace nursery::warden {
namespace {

// The attempt's last call was made.
struct Ended {};

// Gathers what happens to one attempt. The host's thread writes; the coroutine reads after it has
// received the end from the channel, which orders the two.
class Attempt final : public ProcessHandler {
 public:
  Attempt(Context context, Permit place, Sender<Ended> ended, ProcessObserver* observer)
      : context_(std::move(context)),
        place_(std::move(place)),
        ended_(std::move(ended)),
        observer_(observer) {}

  void OnSpawned(pid_t pid) override {
    place_.Release();
    result.pid = pid;
    result.spawn_time = context_.Now();
    if (observer_ != nullptr) observer_->OnProcess(pid);
  }
  void OnExited(const LeaderExit& exit) override {
    result.exit = exit;
    result.exit_time = context_.Now();
  }
  void OnSurvivors(const Survivors& alive) override {
    if (observer_ != nullptr) observer_->OnSurvivors(alive);
  }
  void OnSpawnFailed(const absl::Status& why) override { End(why); }
  void OnGone(const AttemptEnd& end) override {
    result.end = end;
    TellEscaped(end.escaped);
    End(absl::OkStatus());
  }
  void OnLost(const absl::Status& why, const Survivors& escaped) override {
    TellEscaped(escaped);
    End(why);
  }

  ProcessResult result;
  absl::Status status;  // why there is no result

 private:
  void TellEscaped(const Survivors& escaped) {
    if (observer_ != nullptr && escaped.total > 0) observer_->OnEscaped(escaped);
  }
  void End(const absl::Status& why) {
    status = why;
    result.end_time = context_.Now();
    // A copy, because the coroutine destroys this object as soon as it has received.
    const Sender<Ended> ended = ended_;
    // Never full: it holds one, and this is the only one.
    ended.TrySend(Ended()).IgnoreError();
  }

  const Context context_;
  Permit place_;  // among those who wait for their start
  const Sender<Ended> ended_;
  ProcessObserver* const observer_;
};

}  // namespace

Async<absl::StatusOr<ProcessResult>> RunProcess(Context ctx, ProcessHost* host, ProcessSpec spec,
                                                TaskStdio stdio, TakeDown take_down,
                                                ProcessObserver* observer) {
  absl::StatusOr<Permit> place = co_await host->places().Acquire(ctx);
  if (!place.ok()) co_return place.status();
  std::pair<Sender<Ended>, Receiver<Ended>> channel = MakeChannel<Ended>(1);
  Receiver<Ended> receiver = std::move(channel.second);
  Attempt attempt(ctx, *std::move(place), std::move(channel.first), observer);
  const std::string where = "'" + spec.argv.front() + "' in " + spec.cwd;
  const absl::StatusOr<AttemptId> id = host->Spawn(std::move(spec), std::move(stdio), &attempt);
  if (!id.ok()) co_return id.status();

  // A wait that fails was cut short by its context; the end is still to come.
  const absl::StatusOr<Ended> ended = co_await receiver.Receive(ctx);
  bool over = ended.ok();
  const CancelScope shield = CancelScope::Shielded(ctx, Duration::max(), "");
  const Context outer = take_down.kill.value_or(shield.context());
  // Who is to be killed is not asked first: it would be told as ended by SIGTERM if it was quick.
  if (!over && !outer.cancelled()) {
    attempt.result.terminated = true;
    host->Terminate(*id);
    const CancelScope grace(outer, Later(ctx.Now(), take_down.grace()), "grace");
    const Context context = grace.context();
    const absl::StatusOr<Ended> in_time = co_await receiver.Receive(context);
    over = in_time.ok();
  }
  if (!over) {
    attempt.result.escalated = true;
    host->Kill(*id);
    CancelScope scope = CancelScope::Shielded(ctx, Duration::max(), "kill");
    const Context context = scope.context();
    const absl::StatusOr<Ended> last = co_await receiver.Receive(context);
    NURSERY_CHECK(last.ok()) << Message(last.status());
  }
  if (!attempt.status.ok()) co_return Annotate(attempt.status, where);
  co_return std::move(attempt.result);
}

Async<absl::Status> ServeProcesses(Context ctx, ProcessHost* host) {
  absl::Status status;
  while (status.ok()) {
    absl::Status ready = co_await ReadReady(ctx, host->fd());
    if (ready.ok()) host->OnReadable();
    status = std::move(ready);
  }
  host->Stop();
  CancelScope stopping = CancelScope::Shielded(ctx, Duration::max(), "stop of the process host");
  while (!host->stopped()) {
    absl::Status last = co_await ReadReady(stopping.context(), host->fd());
    if (!last.ok()) co_return last;
    host->OnReadable();
  }
  co_return ctx.cancelled() ? absl::OkStatus() : status;
}

}  // namespace nursery::warden
