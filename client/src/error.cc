#include "nursery/client/error.h"

#include <google/protobuf/util/time_util.h>

#include "google/rpc/error_details.pb.h"

namespace nursery::client {
namespace {

// A server's details are the payloads of the status, under the names that gRPC gives them.
template <class Detail>
std::optional<Detail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload("type.googleapis.com/" + Detail().GetTypeName());
  Detail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

}  // namespace

std::string ReasonOf(const absl::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

std::vector<FieldError> FieldErrorsOf(const absl::Status& status) {
  std::vector<FieldError> errors;
  const auto request = DetailOf<google::rpc::BadRequest>(status);
  if (!request) return errors;
  for (const auto& violation : request->field_violations()) {
    errors.push_back({violation.field(), violation.description()});
  }
  return errors;
}

std::optional<Duration> RetryDelayOf(const absl::Status& status) {
  const auto retry = DetailOf<google::rpc::RetryInfo>(status);
  if (!retry) return std::nullopt;
  return std::chrono::nanoseconds(
      google::protobuf::util::TimeUtil::DurationToNanoseconds(retry->retry_delay()));
}

}  // namespace nursery::client
