#include "server/rpc/errors.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "nursery/core/status.h"
#include "server/engine/text.h"

namespace nursery::rpc {

using engine::WithDetail;

namespace {

constexpr size_t kMaxDetailBytes = 4096;
constexpr size_t kMaxMessageBytes = 2048;
constexpr size_t kMaxViolations = 20;
constexpr const char kTypePrefix[] = "type.googleapis.com/";

// The beginning of a text in UTF-8 that a header has room for, without a part of a character. There
// a byte that is not printable ASCII takes three.
std::string Shortened(std::string text) {
  size_t taken = 0;
  size_t end = 0;  // of the last whole character
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool continues = (byte & 0xc0) == 0x80;
    if (!continues) end = at;
    taken += byte < 0x20 || byte > 0x7e || byte == '%' ? 3 : 1;
    if (taken <= kMaxMessageBytes) continue;
    text.resize(end);
    break;
  }
  return text;
}

}  // namespace

absl::Status InvalidSpec(const std::vector<spec::Violation>& violations, size_t total) {
  google::rpc::BadRequest request;
  for (const spec::Violation& violation : violations) {
    if (request.field_violations_size() == static_cast<int>(kMaxViolations)) break;
    auto& field = *request.add_field_violations();
    field.set_field(engine::ToUtf8("job_spec." + violation.path));
    field.set_description(engine::ToUtf8(violation.message));
    if (request.ByteSizeLong() <= kMaxDetailBytes - 512) continue;
    request.mutable_field_violations()->RemoveLast();
    break;
  }
  google::rpc::ErrorInfo info = engine::InfoOf(v1::ERROR_REASON_INVALID_SPEC);
  (*info.mutable_metadata())["total_violations"] = std::to_string(total);
  std::string text =
      "the job is not valid: " + std::to_string(total) + (total == 1 ? " error" : " errors");
  if (!violations.empty()) {
    text += "; job_spec." + violations[0].path + ": " + violations[0].message;
  }
  return WithDetail(WithDetail(Error(absl::StatusCode::kInvalidArgument, text), info), request);
}

absl::Status InvalidField(std::string_view field, std::string_view problem) {
  google::rpc::BadRequest request;
  auto& violation = *request.add_field_violations();
  violation.set_field(std::string(field));
  violation.set_description(engine::ToUtf8(problem));
  absl::Status status =
      Error(absl::StatusCode::kInvalidArgument, std::string(field) + ": " + std::string(problem));
  return WithDetail(WithReason(std::move(status), v1::ERROR_REASON_INVALID_REQUEST), request);
}

absl::Status CheckReason(std::string_view reason) {
  constexpr size_t kMaxReasonBytes = 1024;
  if (reason.size() <= kMaxReasonBytes) return absl::OkStatus();
  return InvalidField("reason", "is " + std::to_string(reason.size()) +
                                    " bytes, over the limit of " + std::to_string(kMaxReasonBytes));
}

absl::Status NotInThisVersion(std::string_view what) {
  return WithReason(
      Error(absl::StatusCode::kUnimplemented, std::string(what) + ": not in this version"),
      v1::ERROR_REASON_NOT_IN_THIS_VERSION);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Shortened(engine::ToUtf8(Message(status))));
  const auto add = [&](absl::string_view type, const absl::Cord& value) {
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(std::string(type));
    detail.set_value(std::string(value));
    if (details.ByteSizeLong() > kMaxDetailBytes + kMaxMessageBytes) {
      details.mutable_details()->RemoveLast();
    }
  };
  const std::string info_type = kTypePrefix + google::rpc::ErrorInfo().GetTypeName();
  if (const auto info = status.GetPayload(info_type)) add(info_type, *info);
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& value) {
    if (type != info_type) add(type, value);
  });
  const std::string serialized = details.details_size() == 0 ? "" : details.SerializeAsString();
  return {static_cast<grpc::StatusCode>(status.code()), details.message(), serialized};
}

}  // namespace nursery::rpc
