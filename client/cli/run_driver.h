// RunDriver: a run over a connection, here or elsewhere: shows what its stream brings, and turns
// signals into cancels. Ctrl-C cancels, a second one kills, a third one gives up waiting.
//
// Thread safety: Drive once, on any executor; the rest after it has returned.
// Lifetime: what it is given outlives it.
// Suspends: Drive until the run's call has ended.
//
//   RunDriver driver(connection, std::move(request), signals, display);
//   absl::Status ran = co_await RunDriver::Drive(ctx, &driver);
#ifndef NURSERY_CLIENT_CLI_RUN_DRIVER_H_
#define NURSERY_CLIENT_CLI_RUN_DRIVER_H_

#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/display.h"
#include "client/src/connection.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/mutex.h"
#include "server/app/signals.h"

namespace nursery::cli {

class RunDriver {
 public:
  RunDriver(client::Connection& connection, v1::RunJobRequest request, app::Signals& signals,
            Display& display);
  RunDriver(const RunDriver&) = delete;
  RunDriver& operator=(const RunDriver&) = delete;

  // The status of the call. How the job ended stands in the result.
  static Async<absl::Status> Drive(Context context, RunDriver* driver);

  // Its id is empty if the call ended without one.
  const v1::Job& result() const { return result_; }
  // The nodes of the result, as far as they are shown.
  const std::vector<engine::NodeView>& nodes() const { return nodes_; }
  // The last attempt that ended, of those that the stream told of.
  const std::optional<v1::Attempt>& last_attempt() const { return last_attempt_; }
  // The first that came.
  int signal() const { return signal_; }

 private:
  static Async<absl::Status> ReadAndWatch(Group& group, RunDriver* driver);
  // What a signal asks of the server.
  struct Ask {
    std::string reason;
    bool kill = false;
  };
  static Async<absl::Status> PassSignals(Context context, RunDriver* driver);
  static Async<absl::Status> ReadSignals(Group& group, RunDriver* driver);
  static Async<absl::Status> SendAsks(Context context, RunDriver* driver, Receiver<Ask> asks);
  static Async<absl::Status> Redraw(Context context, RunDriver* driver);

  // These block.
  absl::Status Read();
  absl::Status DrawOnce();
  // Asks the server, which has some seconds to answer; remembered for when the job is known, if it
  // is not yet.
  absl::Status Cancel(const std::string& reason, bool kill) NURSERY_EXCLUDES(mutex_);
  void OnMessage(const v1::RunJobResponse& message) NURSERY_EXCLUDES(mutex_);
  void OnAbandoned();
  std::string name() const NURSERY_EXCLUDES(mutex_);

  client::Connection& connection_;
  v1::RunJobRequest request_;
  app::Signals& signals_;
  Display& display_;
  v1::Job result_;
  std::vector<engine::NodeView> nodes_;
  std::optional<v1::Attempt> last_attempt_;
  int signal_ = SIGINT;
  std::atomic<bool> told_abandoned_{false};
  Duration pause_{};  // between two pictures

  mutable Mutex mutex_;
  std::string name_ NURSERY_GUARDED_BY(mutex_);  // of the job, once it is known
  std::optional<v1::CancelJobRequest> early_cancel_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_RUN_DRIVER_H_
