// From a job's exec to what the warden is asked to start: argv, environment, directory, stdio.
//
// Thread safety: pure functions, but for what they open.
#ifndef NURSERY_SERVER_ACTIONS_EXEC_PREPARE_H_
#define NURSERY_SERVER_ACTIONS_EXEC_PREPARE_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/actions/exec.h"
#include "server/actions/scratch.h"
#include "server/warden/process_host.h"
#include "server/warden/unique_fd.h"

namespace nursery::actions {

struct Prepared {
  Prepared() = default;

  warden::ProcessSpec spec;
  warden::TaskStdio stdio;
  ScratchDirectory scratch;
  // Our ends of the pipes; empty when stdio is passed through. `errors` is empty for merged output.
  warden::UniqueFd output;
  warden::UniqueFd errors;
};

// INVALID_ARGUMENT or FAILED_PRECONDITION: an expression has no usable value; what the system says:
// stdin or a directory cannot be had.
absl::Status Prepare(const spec::Exec& exec, const engine::AttemptRequest& request,
                     const ExecOptions& options, Scratch* scratch, Prepared* prepared);

}  // namespace nursery::actions

#endif  // NURSERY_SERVER_ACTIONS_EXEC_PREPARE_H_
