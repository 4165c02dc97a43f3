#include "client/src/convert.h"

#include <google/protobuf/util/time_util.h>

namespace nursery::client {
namespace {

using google::protobuf::util::TimeUtil;

// CAUSE_KIND_DEADLINE as "DEADLINE"; empty for the value that stands for nothing.
std::string WithoutPrefix(int number, const std::string& name, size_t prefix) {
  return number == 0 || name.size() <= prefix ? "" : name.substr(prefix);
}

State FromProto(v1::NodeState state) {
  constexpr int kLast = static_cast<int>(State::kSkipped);
  // The two lists are the same; a newer server may know more.
  return state > kLast ? State::kUnknown : static_cast<State>(state);
}

std::string ContainmentName(v1::Containment containment) {
  return WithoutPrefix(containment, v1::Containment_Name(containment),
                       std::string_view("CONTAINMENT_").size());
}

std::string WaitName(v1::WaitReason reason) {
  return WithoutPrefix(reason, v1::WaitReason_Name(reason),
                       std::string_view("WAIT_REASON_").size());
}

CauseInfo FromProto(const v1::Cause& cause) {
  CauseInfo info;
  info.kind = WithoutPrefix(cause.kind(), v1::CauseKind_Name(cause.kind()),
                            std::string_view("CAUSE_KIND_").size());
  info.actor = cause.actor();
  info.reason = cause.reason();
  info.origin_path = cause.origin_path();
  return info;
}

NodeErrorInfo FromProto(const v1::NodeError& error) {
  NodeErrorInfo info;
  info.path = error.path();
  info.attempt = error.attempt();
  info.state = FromProto(error.state());
  // Both are the canonical codes.
  info.code = static_cast<absl::StatusCode>(error.status().code());
  info.message = error.status().message();
  info.stderr_tail = error.stderr_tail();
  info.tolerated = error.tolerated();
  return info;
}

WallTime FromProto(const google::protobuf::Timestamp& time) {
  return WallTime(std::chrono::nanoseconds(TimeUtil::TimestampToNanoseconds(time)));
}

std::vector<Survivor> FromProto(const google::protobuf::RepeatedPtrField<v1::Survivor>& survivors) {
  std::vector<Survivor> infos;
  for (const v1::Survivor& each : survivors) {
    infos.push_back({each.pid(), each.command(), each.path(), each.state()});
  }
  return infos;
}

AttemptInfo FromProto(const v1::Attempt& attempt) {
  AttemptInfo info;
  info.number = attempt.number();
  if (attempt.has_start_time()) info.start_time = FromProto(attempt.start_time());
  if (attempt.has_end_time()) info.end_time = FromProto(attempt.end_time());
  if (attempt.has_exit_code()) info.exit_code = attempt.exit_code();
  if (attempt.has_signal()) info.signal = attempt.signal();
  // Both are the canonical codes.
  info.code = static_cast<absl::StatusCode>(attempt.status().code());
  info.message = attempt.status().message();
  info.out_of_memory = attempt.oom();
  info.limits_not_enforced.assign(attempt.limits_not_enforced().begin(),
                                  attempt.limits_not_enforced().end());
  info.survivors = FromProto(attempt.survivors());
  info.survivor_count = attempt.survivor_count();
  return info;
}

void Set(const v1::Attempt& attempt, Event& event) {
  event.attempt = attempt.number();
  if (attempt.exit_case() == v1::Attempt::kExitCode) event.exit_code = attempt.exit_code();
}

void Set(const v1::CancelReceipt& receipt, Event& event) {
  event.path = receipt.path();
  event.receipt = client::FromProto(receipt);
}

// The fields that bodies share have the same names in all of them.
void SetBody(const google::protobuf::Message& body, Event& event) {
  const google::protobuf::Reflection& reflection = *body.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(body, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const std::string& name = field->name();
    if (name == "path") event.path = reflection.GetString(body, field);
    if (name == "state" || name == "outcome") {
      // The type of both, in every body.
      event.state = FromProto(static_cast<v1::NodeState>(reflection.GetEnumValue(body, field)));
    }
    const bool is_message = field->message_type() != nullptr && !field->is_repeated();
    if (name == "attempt" && !is_message) event.attempt = reflection.GetInt32(body, field);
    if (!is_message) continue;
    const google::protobuf::Message& value = reflection.GetMessage(body, field);
    using google::protobuf::DynamicCastToGenerated;
    if (const auto* cause = DynamicCastToGenerated<v1::Cause>(&value)) {
      event.cause = FromProto(*cause);
    } else if (const auto* attempt = DynamicCastToGenerated<v1::Attempt>(&value)) {
      Set(*attempt, event);
    } else if (const auto* receipt = DynamicCastToGenerated<v1::CancelReceipt>(&value)) {
      Set(*receipt, event);
    }
  }
}

}  // namespace

google::protobuf::Duration ToProto(Duration duration) {
  return TimeUtil::NanosecondsToDuration(duration.count());
}

google::protobuf::Timestamp ToProto(WallTime time) {
  return TimeUtil::NanosecondsToTimestamp(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

std::string_view StateName(State state) {
  if (state == State::kUnknown) return "UNKNOWN";
  // The two lists are the same.
  const std::string& name = v1::NodeState_Name(static_cast<v1::NodeState>(state));
  return std::string_view(name).substr(std::string_view("NODE_STATE_").size());
}

CancelReceipt FromProto(const v1::CancelReceipt& receipt) {
  CancelReceipt info;
  info.complete = receipt.complete();
  info.already_ended = receipt.already_ended();
  info.path = receipt.path();
  info.cause = FromProto(receipt.cause());
  info.skipped = receipt.skipped();
  info.interrupted = receipt.interrupted();
  info.terminated = receipt.terminated();
  info.killed = receipt.killed();
  info.cleanups_run = receipt.cleanups_run();
  info.cleanups_skipped = receipt.cleanups_skipped();
  info.containment = ContainmentName(receipt.containment());
  info.survivors = FromProto(receipt.survivors());
  info.survivor_count = receipt.survivor_count();
  info.duration = std::chrono::nanoseconds(TimeUtil::DurationToNanoseconds(receipt.duration()));
  return info;
}

JobInfo FromProto(const v1::Job& job) {
  JobInfo info;
  info.name = job.name();
  info.id = job.id();
  info.display_name = job.display_name();
  info.state = FromProto(job.state());
  info.done = job.done();
  info.cause = FromProto(job.cause());
  for (const v1::NodeError& error : job.errors()) info.errors.push_back(FromProto(error));
  info.error_count = job.error_count();
  info.node_count = job.node_count();
  if (job.has_create_time()) info.create_time = FromProto(job.create_time());
  if (job.has_start_time()) info.start_time = FromProto(job.start_time());
  if (job.has_end_time()) info.end_time = FromProto(job.end_time());
  if (job.has_deadline()) info.deadline = FromProto(job.deadline());
  info.deadline_source = job.deadline_source();
  info.labels.insert(job.labels().begin(), job.labels().end());
  if (job.has_last_cancel()) info.last_cancel = FromProto(job.last_cancel());
  info.submitter = job.submitter();
  info.output = job.output();
  info.output_truncated = job.output_truncated();
  info.survivors = FromProto(job.survivors());
  info.survivor_count = job.survivor_count();
  info.last_seq = job.last_seq();
  return info;
}

NodeInfo FromProto(const v1::Node& node) {
  NodeInfo info;
  info.path = node.path();
  info.kind = WithoutPrefix(node.kind(), v1::NodeKind_Name(node.kind()),
                            std::string_view("NODE_KIND_").size());
  info.state = FromProto(node.state());
  info.done = node.done();
  info.cause = FromProto(node.cause());
  info.wait = WaitName(node.wait().reason());
  info.wait_object = node.wait().object();
  info.attempt_count = node.attempt_count();
  info.max_attempts = node.max_attempts();
  info.child_count = node.child_count();
  for (const v1::Attempt& attempt : node.attempts()) info.attempts.push_back(FromProto(attempt));
  if (node.has_start_time()) info.start_time = FromProto(node.start_time());
  if (node.has_end_time()) info.end_time = FromProto(node.end_time());
  return info;
}

ExplanationInfo FromProto(const v1::Explanation& explanation) {
  ExplanationInfo info;
  info.state = FromProto(explanation.state());
  info.wait = WaitName(explanation.wait().reason());
  info.wait_object = explanation.wait().object();
  if (explanation.has_deadline()) info.deadline = FromProto(explanation.deadline());
  info.deadline_source = explanation.deadline_source();
  info.text = explanation.text();
  return info;
}

Event FromProto(const v1::Event& event) {
  Event info;
  info.seq = event.seq();
  if (event.has_time()) info.time = FromProto(event.time());
  const google::protobuf::FieldDescriptor* const body =
      event.GetReflection()->GetOneofFieldDescriptor(
          event, event.GetDescriptor()->FindOneofByName("body"));
  if (body == nullptr) return info;  // newer than this library
  info.kind = body->name();
  SetBody(event.GetReflection()->GetMessage(event, body), info);
  return info;
}

OutputChunk FromProto(const v1::OutputChunk& chunk) {
  OutputChunk info;
  info.path = chunk.path();
  info.attempt = chunk.attempt();
  if (chunk.stream() == v1::OUTPUT_STREAM_STDOUT) info.stream = Stream::kStdout;
  if (chunk.stream() == v1::OUTPUT_STREAM_STDERR) info.stream = Stream::kStderr;
  info.offset = chunk.offset();
  info.data = chunk.data();
  info.gap = chunk.gap();
  return info;
}

ServerInfo FromProto(const v1::ServerInfo& server) {
  ServerInfo info;
  info.version = server.version();
  info.instance_id = server.instance_id();
  info.containment = ContainmentName(server.containment());
  info.features.assign(server.features().begin(), server.features().end());
  info.functions.assign(server.functions().begin(), server.functions().end());
  info.limits.insert(server.limits().begin(), server.limits().end());
  return info;
}

}  // namespace nursery::client
