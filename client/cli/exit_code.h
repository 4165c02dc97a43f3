// What the commands give to the shell.
#ifndef NURSERY_CLIENT_CLI_EXIT_CODE_H_
#define NURSERY_CLIENT_CLI_EXIT_CODE_H_

#include "nursery/v1/resources.pb.h"

namespace nursery::cli {

// Exit codes of commands on job files. `run -- CMD` passes the command's own code through instead
// and uses those of timeout(1) and env(1) for what is not the command's.
enum ExitCode : int {
  kSucceeded = 0,
  kFailed = 1,
  kUsage = 2,  // also an invalid job
  kCancelled = 3,
  kDeadlineExceeded = 4,
  kNoServer = 5,
  kRefused = 6,
  kCommandDeadline = 124,
  kCommandNotRun = 125,  // ours, not the command's
  kCommandNotExecutable = 126,
  kCommandNotFound = 127,
  kCommandSignalled = 128,  // plus the number of the signal
};

// Of a job file's run that has ended.
inline ExitCode ExitCodeOf(const v1::Job& job) {
  switch (job.state()) {
    case v1::NODE_STATE_SUCCEEDED:
      return kSucceeded;
    case v1::NODE_STATE_CANCELLED:
      return kCancelled;
    case v1::NODE_STATE_DEADLINE_EXCEEDED:
      return kDeadlineExceeded;
    default:
      return kFailed;
  }
}

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_EXIT_CODE_H_
