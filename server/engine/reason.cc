#include "server/engine/reason.h"

#include "absl/strings/cord.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"

namespace nursery::engine {

absl::Status WithDetail(absl::Status status, const google::protobuf::Message& detail) {
  // Not the constructor from a std::string: clang's name for it is not that of the library's g++.
  const std::string bytes = detail.SerializeAsString();
  status.SetPayload("type.googleapis.com/" + detail.GetTypeName(),
                    absl::Cord(absl::string_view(bytes)));
  return status;
}

google::rpc::ErrorInfo InfoOf(v1::ErrorReason reason) {
  constexpr std::string_view kPrefix = "ERROR_REASON_";
  google::rpc::ErrorInfo info;
  info.set_reason(v1::ErrorReason_Name(reason).substr(kPrefix.size()));
  info.set_domain("nursery");
  return info;
}

absl::Status WithReason(absl::Status status, v1::ErrorReason reason) {
  return WithDetail(std::move(status), InfoOf(reason));
}

absl::Status WithRetry(absl::Status status, Duration delay) {
  google::rpc::RetryInfo info;
  *info.mutable_retry_delay() = ToProto(delay);
  return WithDetail(std::move(status), info);
}

absl::Status TooManyTasks(const absl::Status& refused) {
  const std::string text =
      std::string(Message(refused)) + "; limits.tasks of the server's configuration raises it";
  return WithRetry(WithReason(Error(absl::StatusCode::kResourceExhausted, text),
                              v1::ERROR_REASON_TOO_MANY_TASKS),
                   std::chrono::seconds(1));
}

}  // namespace nursery::engine
