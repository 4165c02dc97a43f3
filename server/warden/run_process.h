// RunProcess and ServeProcesses: a ProcessHost for coroutines.
//
// RunProcess returns when no process of the attempt is alive, whatever happens; the caller may give
// back what the attempt occupied. When `ctx` is cancelled it sends SIGTERM, after `grace` SIGKILL,
// and still waits. ServeProcesses must run on the same executor as long as there are attempts.
//
// Thread safety: any thread. Lifetime: the host outlives both.
// Suspends: until the attempt is over; where very many wait for their start, also until it may.
// Resumes on: the executor.
// Cancellation: ends the attempt as said above. The result is then OK all the same, with what
// became of the processes; the context says why.
//
//   TakeDown take_down(std::chrono::seconds(5));
//   absl::StatusOr<ProcessResult> result =
//       co_await RunProcess(ctx, &host, spec, std::move(stdio), take_down, nullptr);
#ifndef NURSERY_SERVER_WARDEN_RUN_PROCESS_H_
#define NURSERY_SERVER_WARDEN_RUN_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/clock.h"
#include "nursery/core/context.h"
#include "server/warden/process_host.h"

namespace nursery::warden {

struct ProcessResult {
  pid_t pid = -1;
  LeaderExit exit;
  AttemptEnd end;
  bool terminated = false;  // SIGTERM was sent, because the context was cancelled
  bool escalated = false;   // SIGKILL was sent, because the grace had passed or for want of any
  Time spawn_time{};        // when the program was running
  Time exit_time{};         // when the leader's exit was known
  Time end_time{};          // when nothing was left
};

// Told while an attempt runs, from the thread that serves the host.
class ProcessObserver {
 public:
  virtual ~ProcessObserver() = default;
  virtual void OnProcess(pid_t pid) = 0;
  // They outlived SIGKILL so far; none: those that did are gone.
  virtual void OnSurvivors(const Survivors& alive) = 0;
  // Last, if there are any, whether the attempt has ended or was lost: AttemptEnd::escaped.
  virtual void OnEscaped(const Survivors& escaped) = 0;
};

struct TakeDown {
  explicit TakeDown(std::function<Duration()> the_grace) : grace(std::move(the_grace)) {}
  explicit TakeDown(Duration the_grace) : grace([the_grace] { return the_grace; }) {}

  std::function<Duration()> grace;  // SIGTERM to SIGKILL; asked when SIGTERM is sent
  // Its cancellation ends the grace at once; before that of `ctx`: there is no SIGTERM at all.
  std::optional<Context> kill;
};

// An error when the program never ran (its status says which step failed), or ABORTED when warden
// or reaper died. `observer` may be null.
Async<absl::StatusOr<ProcessResult>> RunProcess(Context ctx, ProcessHost* host, ProcessSpec spec,
                                                TaskStdio stdio, TakeDown take_down,
                                                ProcessObserver* observer);

// Makes the host's calls until `ctx` is cancelled; then stops the host and returns when it has
// stopped.
Async<absl::Status> ServeProcesses(Context ctx, ProcessHost* host);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_RUN_PROCESS_H_
