// Validation: from the contract's JobSpec to the Job that the engine runs, or to everything that is
// wrong with it. The command line and the server use the same.
//
// Thread safety: pure function.
//
//   CompileResult result = Compile(request.job_spec(), options);
//   if (result.job == nullptr) return InvalidArgument(result.violations);
#ifndef NURSERY_SERVER_SPEC_COMPILE_H_
#define NURSERY_SERVER_SPEC_COMPILE_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/spec/job.h"
#include "server/spec/limits.h"
#include "server/spec/violation.h"

namespace nursery::v1 {
class JobSpec;
}  // namespace nursery::v1

namespace nursery::spec {

// Names of limits (memory, pids, cpu_weight), each with the reason why it does not hold.
using LimitReasons = std::map<std::string, std::string, std::less<>>;

struct CompileOptions {
  Limits limits;
  // For actions that say none, sleep excepted.
  Duration default_attempt_timeout = std::chrono::hours(1);
  // The largest that a job may ask for; unset: any, and none.
  std::optional<Duration> max_job_timeout;
  // Of a map that says none: the slots of its pool.
  int64_t default_map_workers = 16;
  // Pools of the server; empty: names are not checked.
  std::vector<std::string> pools;
  // Semaphores of the server, by rank; unset: they are not known, and names are not checked.
  std::optional<std::vector<Semaphore>> semaphores;
  // The limits of whole attempts that do not hold here now: a job that has one is warned.
  std::function<LimitReasons()> not_enforced = [] { return LimitReasons(); };
  // Accounts that processes may run as; unset: they are not known, and names are not checked.
  std::optional<std::vector<std::string>> users;
  // Functions registered for `call`; empty: names are not checked.
  std::vector<std::string> functions;
};

struct CompileResult {
  std::shared_ptr<const Job> job;  // null if there are violations
  // Paths start at the JobSpec, as in root.group.nodes[2].needs[0]. At most kMaxKeptErrors.
  std::vector<Violation> violations;
  size_t total_violations = 0;
  // Legal, but probably not what was meant.
  std::vector<Violation> warnings;
};

CompileResult Compile(const nursery::v1::JobSpec& spec, const CompileOptions& options);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_COMPILE_H_
