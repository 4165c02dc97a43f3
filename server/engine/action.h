// What the engine asks of actions: one attempt, from start to verified end.
//
// Implementations stand in server/actions. An implementation returns only when nothing that the
// attempt started is left, or never: the engine gives nothing back before.
#ifndef NURSERY_SERVER_ENGINE_ACTION_H_
#define NURSERY_SERVER_ENGINE_ACTION_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "server/engine/output.h"
#include "server/spec/job.h"

namespace nursery::engine {

struct Survivor {
  int64_t pid = 0;
  std::string command;
  std::string state;
};

// Processes that are alive and should not be.
struct Survivors {
  std::vector<Survivor> named;
  int64_t count = 0;  // with those that are not named
};

// Told while the attempt runs, from any thread.
class AttemptObserver {
 public:
  virtual ~AttemptObserver() = default;
  virtual void OnProcess(int64_t pid) = 0;
  // What the attempt will write; the same for both streams where they are merged.
  virtual void OnOutput(std::shared_ptr<const Output> output,
                        std::shared_ptr<const Output> errors) = 0;
  // Still alive after SIGKILL; called again when others are, and with none when they are gone.
  virtual void OnSurvivors(Survivors survivors) = 0;
};

struct AttemptRequest {
  explicit AttemptRequest(const spec::Action& the_action) : action(the_action) {}

  const spec::Action& action;
  const spec::Scope* scope = nullptr;
  // The environment that the engine adds: NURSERY_JOB_ID, NURSERY_PATH, ...
  std::vector<std::pair<std::string, std::string>> environment;
  std::string workdir;
  // From SIGTERM to SIGKILL; asked when SIGTERM is sent.
  std::function<Duration()> grace;
  Duration idle_timeout = spec::TimeLimit::kUnlimited;
  // Its cancellation ends the grace at once.
  std::optional<Context> kill;
  // For StdinOutput: opens the output of a node.
  std::function<absl::StatusOr<int>(spec::NodeIndex)> open_output;
  bool keep_whole_output = false;
  AttemptObserver* observer = nullptr;
};

struct ActionResult {
  // OK, or what went wrong: "exit code 2", "killed by SIGSEGV", "no such program ...".
  absl::Status status;
  // The attempt was lost with the warden: not its own fault.
  bool interrupted = false;
  // It ended because the idle timeout passed.
  bool idle = false;
  std::optional<int> exit_code;
  std::optional<int> signal;
  bool oom = false;
  int64_t pid = 0;
  std::chrono::microseconds user_time{};
  std::chrono::microseconds system_time{};
  int64_t max_resident_bytes = 0;
  int64_t peak_memory_bytes = 0;  // of all its processes together; 0: not known
  // Of those that were asked for: memory, pids, cpu_weight.
  std::vector<std::string> limits_not_enforced;
  // Processes that were left when the leader ended by itself, and were killed.
  int leftovers = 0;
  // Processes out of reach of its containment (the level group), which live on.
  Survivors escaped;
  // When it was cancelled: processes that ended by SIGTERM, and by SIGKILL.
  int terminated = 0;
  int killed = 0;
  std::string containment;
  std::shared_ptr<const Output> output;
  std::shared_ptr<const Output> errors;
};

class ActionRunner {
 public:
  virtual ~ActionRunner() = default;
  // Never fails by itself: what went wrong is in the result.
  virtual Async<ActionResult> Run(Context context, const AttemptRequest& request) = 0;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_ACTION_H_
