#include "client/cli/run_driver.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "client/cli/remote.h"
#include "client/cli/text.h"
#include "nursery/core/blocking.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace nursery::cli {
namespace {

// Of skipped nodes; the summary has their number.
constexpr size_t kMaxSkippedLines = 2000;
constexpr std::chrono::milliseconds kLeastPause{100};
// Drawing takes at most this share of the time, however large the tree is.
constexpr int kPauseOverDrawing = 10;
// Of all calls beside the run's own: a server that does not answer within it is asked again later.
constexpr std::chrono::seconds kPatience{5};

}  // namespace

RunDriver::RunDriver(client::Connection& connection, v1::RunJobRequest request,
                     app::Signals& signals, Display& display)
    : connection_(connection),
      request_(std::move(request)),
      signals_(signals),
      display_(display),
      pause_(kLeastPause) {}

Async<absl::Status> RunDriver::Drive(Context context, RunDriver* driver) {
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(context, collect, ReadAndWatch, driver);
  co_return result.status;
}

Async<absl::Status> RunDriver::ReadAndWatch(Group& group, RunDriver* driver) {
  const CancelScope watching(group.context());
  const auto pass = [](Context, RunDriver* self, Context until) {
    return PassSignals(std::move(until), self);
  };
  const auto redraw = [](Context, RunDriver* self, Context until) {
    return Redraw(std::move(until), self);
  };
  absl::Status spawned = group.TrySpawn("signals", pass, driver, watching.context());
  if (spawned.ok() && driver->display_.form() == Form::kTree) {
    spawned = group.TrySpawn("display", redraw, driver, watching.context());
  }
  if (!spawned.ok()) co_return spawned;
  auto read = [driver] { return driver->Read(); };
  absl::Status done = co_await RunBlocking(group.context(), std::move(read));
  watching.Cancel("the run has ended");
  co_return done;
}

Async<absl::Status> RunDriver::PassSignals(Context context, RunDriver* driver) {
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult passed = co_await WithGroup(context, collect, ReadSignals, driver);
  // It ends with the run, whose own status it must not hide.
  static_cast<void>(passed);
  co_return absl::OkStatus();
}

// Reads on while the server is asked: one that does not answer holds up no third signal.
Async<absl::Status> RunDriver::ReadSignals(Group& group, RunDriver* driver) {
  std::pair<Sender<Ask>, Receiver<Ask>> asks = MakeChannel<Ask>(2);
  absl::Status spawned = group.TrySpawn("cancel", SendAsks, driver, std::move(asks.second));
  if (!spawned.ok()) co_return spawned;
  for (int count = 1;; ++count) {
    absl::StatusOr<int> number = co_await driver->signals_.Next(group.context());
    if (!number.ok()) co_return absl::OkStatus();
    if (count == 1) driver->signal_ = *number;
    if (count > 2) _exit(kCommandSignalled + *number);
    driver->display_.OnSignal(count);
    Ask ask;
    ask.reason = *number == SIGINT ? "Ctrl-C" : "SIG" + std::string(sigabbrev_np(*number));
    ask.kill = count == 2;
    // There is room for both.
    asks.first.TrySend(std::move(ask)).IgnoreError();
  }
}

// The result comes with the stream, which goes on.
Async<absl::Status> RunDriver::SendAsks(Context context, RunDriver* driver, Receiver<Ask> asks) {
  for (;;) {
    absl::StatusOr<Ask> ask = co_await asks.Receive(context);
    if (!ask.ok()) co_return absl::OkStatus();
    auto cancel = [driver, asked = *ask] { return driver->Cancel(asked.reason, asked.kill); };
    absl::Status done = co_await RunBlocking(context, std::move(cancel));
    // A run that ends meanwhile takes its server, or its job, with it.
    if (done.ok() || context.cancelled()) continue;
    std::fprintf(stderr, "error: %s\n", Printable(Message(done)).c_str());
  }
}

Async<absl::Status> RunDriver::Redraw(Context context, RunDriver* driver) {
  for (;;) {
    absl::Status slept = co_await Sleep(context, driver->pause_);
    if (!slept.ok()) co_return absl::OkStatus();
    auto draw = [driver] { return driver->DrawOnce(); };
    // What is wrong with the server, the run's own call says.
    absl::Status drawn = co_await RunBlocking(context, std::move(draw));
    static_cast<void>(drawn);
  }
}

absl::Status RunDriver::Read() {
  absl::Status done = connection_.RunJob(
      std::move(request_), [this](const v1::RunJobResponse& message) { OnMessage(message); });
  const bool lines = display_.form() == Form::kLines && result_.counts().skipped() > 0;
  if (display_.form() != Form::kTree && !lines) return done;
  // A server may have forgotten it already; then there is less to see.
  const client::CallOptions call(kPatience);
  absl::StatusOr<std::vector<engine::NodeView>> nodes =
      lines ? ListNodes(connection_, result_, "state = SKIPPED", kMaxSkippedLines, call)
            : ListUrgentNodes(connection_, result_, call);
  if (nodes.ok()) nodes_ = *std::move(nodes);
  return done;
}

void RunDriver::OnMessage(const v1::RunJobResponse& message) {
  std::optional<v1::CancelJobRequest> cancel;
  if (!message.job().empty()) {
    MutexLock lock(mutex_);
    name_ = message.job();
    cancel = std::exchange(early_cancel_, std::nullopt);
    if (cancel) cancel->set_name(name_);
  }
  // A job that has just ended is no error here.
  if (cancel) connection_.CancelJob(*cancel, client::CallOptions(kPatience)).status().IgnoreError();
  display_.Add(message);
  for (const v1::Event& event : message.events()) {
    if (event.has_attempt_ended()) last_attempt_ = event.attempt_ended().attempt();
  }
  if (message.has_result()) result_ = message.result();
  OnAbandoned();
}

// As a hang-up: who cannot see the job any more does not want it.
void RunDriver::OnAbandoned() {
  if (!display_.abandoned() || told_abandoned_.exchange(true)) return;
  Cancel("nobody reads stdout", /*kill=*/false).IgnoreError();
}

absl::Status RunDriver::Cancel(const std::string& reason, bool kill) {
  v1::CancelJobRequest request;
  request.set_reason(reason);
  if (kill) request.set_mode(v1::CANCEL_MODE_KILL);
  {
    MutexLock lock(mutex_);
    if (name_.empty()) early_cancel_ = request;
    if (name_.empty()) return absl::OkStatus();
    request.set_name(name_);
  }
  return connection_.CancelJob(request, client::CallOptions(kPatience)).status();
}

std::string RunDriver::name() const {
  MutexLock lock(mutex_);
  return name_;
}

absl::Status RunDriver::DrawOnce() {
  v1::GetJobRequest request;
  request.set_name(name());
  if (request.name().empty()) return absl::OkStatus();
  const Clock& clock = Clock::Steady();
  const Time start = clock.Now();
  const client::CallOptions options(kPatience);
  absl::StatusOr<v1::Job> job = connection_.GetJob(request, options);
  if (!job.ok()) return job.status();
  absl::StatusOr<std::vector<engine::NodeView>> nodes = ListUrgentNodes(connection_, *job, options);
  if (!nodes.ok()) return nodes.status();
  // The last picture is made of the result.
  if (!job->done()) display_.Draw(*nodes, *job);
  OnAbandoned();
  pause_ = std::max<Duration>(kLeastPause, kPauseOverDrawing * (clock.Now() - start));
  return absl::OkStatus();
}

}  // namespace nursery::cli
