// What a view leaves of a job.
//
// Thread safety: a pure function.
#ifndef NURSERY_SERVER_RPC_JOB_VIEW_H_
#define NURSERY_SERVER_RPC_JOB_VIEW_H_

#include "nursery/v1/job_service.pb.h"

namespace nursery::rpc {

// FULL is all of it; everything else leaves out what grows with the job.
inline v1::Job Viewed(v1::Job job, v1::JobView view) {
  if (view == v1::JOB_VIEW_FULL) return job;
  job.clear_errors();
  job.clear_output();
  job.clear_last_cancel();
  return job;
}

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_JOB_VIEW_H_
