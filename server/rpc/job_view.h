// What a view leaves of a job.
//
// Thread safety: a pure function.
#ifndef NURSERY_SERVER_RPC_JOB_VIEW_H_
#define NURSERY_SERVER_RPC_JOB_VIEW_H_

#include "nursery/v1/job_service.pb.h"

namespace nursery::rpc {

// A message of several jobs is full at about this: far below the 4 MiB that clients take.
inline constexpr size_t kJobsBytes = 1 << 20;

// FULL is all of it; everything else has the first errors only.
inline v1::Job Viewed(v1::Job job, v1::JobView view) {
  constexpr int kBasicErrors = 4;
  const int more = job.errors_size() - kBasicErrors;
  if (view != v1::JOB_VIEW_FULL && more > 0) {
    job.mutable_errors()->DeleteSubrange(kBasicErrors, more);
  }
  return job;
}

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_JOB_VIEW_H_
