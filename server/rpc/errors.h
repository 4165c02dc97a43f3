// From our statuses to those of gRPC. Details travel as payloads of an absl::Status: an ErrorInfo
// first, then what its reason brings.
//
// Thread safety: pure functions.
//
//   call->SetStatus(ToGrpc(InvalidField("name", "must be jobs/ID")));
#ifndef NURSERY_SERVER_RPC_ERRORS_H_
#define NURSERY_SERVER_RPC_ERRORS_H_

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/reason.h"
#include "server/spec/violation.h"

namespace nursery::rpc {

using engine::WithReason;
using engine::WithRetry;

// INVALID_ARGUMENT with a BadRequest of the first of them; paths start with job_spec.
absl::Status InvalidSpec(const std::vector<spec::Violation>& violations, size_t total);

// An error of a request's field.
absl::Status InvalidField(std::string_view field, std::string_view problem);
// The reason that somebody gives for what he does.
absl::Status CheckReason(std::string_view reason);
absl::Status NotInThisVersion(std::string_view what);

// With details of at most 4 KiB: a client refuses headers above 8 KiB and would see another error.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_ERRORS_H_
