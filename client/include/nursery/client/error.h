// What a server's error says to programs. The code and the message are the status's own.
//
// Thread safety: pure functions.
//
//   absl::StatusOr<JobInfo> job = client->Submit(tree);
//   if (ReasonOf(job.status()) == "TOO_MANY_JOBS") TryAgainIn(RetryDelayOf(job.status()));
#ifndef NURSERY_CLIENT_ERROR_H_
#define NURSERY_CLIENT_ERROR_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nursery/core/clock.h"

namespace nursery::client {

// One wrong field of a request.
struct FieldError {
  std::string field;  // as in job_spec.root.group.nodes[2].needs[0]
  std::string problem;
};

// A name of nursery.v1.ErrorReason without its prefix, as in "JOB_NOT_FOUND". Empty: the error is
// not a server's, or says none.
std::string ReasonOf(const absl::Status& status);
// The first 20 at most.
std::vector<FieldError> FieldErrorsOf(const absl::Status& status);
// When the same call may succeed.
std::optional<Duration> RetryDelayOf(const absl::Status& status);

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_ERROR_H_
