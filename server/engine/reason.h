// Reasons: what a client's program can tell errors apart by, as payloads of a status.
//
// Thread safety: pure functions.
//
//   return WithReason(Error(absl::StatusCode::kNotFound, "no job 'x'"),
//                     v1::ERROR_REASON_JOB_NOT_FOUND);
#ifndef NURSERY_SERVER_ENGINE_REASON_H_
#define NURSERY_SERVER_ENGINE_REASON_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "google/rpc/error_details.pb.h"
#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"

namespace nursery::engine {

// Adds `detail`, under the URL of its type.
absl::Status WithDetail(absl::Status status, const google::protobuf::Message& detail);
google::rpc::ErrorInfo InfoOf(v1::ErrorReason reason);
absl::Status WithReason(absl::Status status, v1::ErrorReason reason);
// RESOURCE_EXHAUSTED and UNAVAILABLE: try again after `delay`.
absl::Status WithRetry(absl::Status status, Duration delay);
// For whoever the runtime has no task for, as `refused` says, with what raises the limit.
absl::Status TooManyTasks(const absl::Status& refused);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_REASON_H_
