#include "server/engine/convert.h"

#include <algorithm>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/engine/escapees.h"
#include "server/engine/limits.h"
#include "server/engine/text.h"

namespace nursery::engine {

v1::NodeState ToProto(NodeState state) {
  // Both enumerations list the states in the same order; the contract's begins with UNSPECIFIED.
  static_assert(v1::NODE_STATE_PENDING == static_cast<int>(NodeState::kPending) + 1);
  static_assert(v1::NODE_STATE_SKIPPED == static_cast<int>(NodeState::kSkipped) + 1);
  return static_cast<v1::NodeState>(static_cast<int>(state) + 1);
}

v1::NodeState ToProto(Outcome outcome) {
  switch (outcome) {
    case Outcome::kUndecided:
      return v1::NODE_STATE_UNSPECIFIED;
    case Outcome::kSucceeded:
      return v1::NODE_STATE_SUCCEEDED;
    case Outcome::kFailed:
      return v1::NODE_STATE_FAILED;
    case Outcome::kCancelled:
      return v1::NODE_STATE_CANCELLED;
    case Outcome::kDeadlineExceeded:
      return v1::NODE_STATE_DEADLINE_EXCEEDED;
    case Outcome::kSkipped:
      return v1::NODE_STATE_SKIPPED;
  }
  __builtin_unreachable();
}

v1::CauseKind ToProto(CauseKind kind) {
  switch (kind) {
    case CauseKind::kNone:
      return v1::CAUSE_KIND_UNSPECIFIED;
    case CauseKind::kFailed:
      return v1::CAUSE_KIND_ATTEMPT_FAILED;
    case CauseKind::kFinally:
      return v1::CAUSE_KIND_FINALLY;
    case CauseKind::kCancelled:
      return v1::CAUSE_KIND_CANCELLED;
    case CauseKind::kDeadline:
      return v1::CAUSE_KIND_DEADLINE;
    case CauseKind::kDrain:
      return v1::CAUSE_KIND_DRAIN;
    case CauseKind::kSiblingFailed:
      return v1::CAUSE_KIND_SIBLING_FAILED;
    case CauseKind::kGroupDecided:
      return v1::CAUSE_KIND_GROUP_DECIDED;
    case CauseKind::kDependency:
      return v1::CAUSE_KIND_DEPENDENCY;
    case CauseKind::kCondition:
      return v1::CAUSE_KIND_CONDITION;
  }
  __builtin_unreachable();
}

namespace {

void Tell(const Output& output, v1::OutputRef* message) {
  message->set_total_bytes(output.total());
  message->set_truncated(output.truncated());
  if (output.total() <= kOutputInEvent) message->set_inline_data(output.Excerpt());
}

}  // namespace

v1::StateCounts ToProto(const std::array<int64_t, 8>& counts, int64_t tolerated) {
  const auto of = [&](NodeState state) { return counts[static_cast<size_t>(state)]; };
  v1::StateCounts message;
  message.set_pending(of(NodeState::kPending));
  message.set_running(of(NodeState::kRunning));
  message.set_ending(of(NodeState::kEnding));
  message.set_succeeded(of(NodeState::kSucceeded));
  message.set_failed(of(NodeState::kFailed));
  message.set_cancelled(of(NodeState::kCancelled));
  message.set_deadline_exceeded(of(NodeState::kDeadlineExceeded));
  message.set_skipped(of(NodeState::kSkipped));
  message.set_tolerated(tolerated);
  return message;
}

v1::Attempt ToProto(const ActionResult& result, int number, v1::AttemptState state) {
  v1::Attempt attempt;
  attempt.set_number(number);
  attempt.set_state(state);
  if (result.exit_code) attempt.set_exit_code(*result.exit_code);
  if (result.signal) attempt.set_signal(*result.signal);
  attempt.set_oom(result.oom);
  *attempt.mutable_status() = ToProto(result.status);
  attempt.set_pid(result.pid);
  if (result.containment == "subreaper") attempt.set_containment(v1::CONTAINMENT_SUBREAPER);
  if (result.containment == "group") attempt.set_containment(v1::CONTAINMENT_GROUP);
  if (result.containment == "cgroup") attempt.set_containment(v1::CONTAINMENT_CGROUP);
  *attempt.mutable_usage()->mutable_user_time() = ToProto(Duration(result.user_time));
  *attempt.mutable_usage()->mutable_system_time() = ToProto(Duration(result.system_time));
  attempt.mutable_usage()->set_max_resident_bytes(result.max_resident_bytes);
  attempt.mutable_usage()->set_peak_memory_bytes(result.peak_memory_bytes);
  for (const std::string& limit : result.limits_not_enforced) {
    attempt.add_limits_not_enforced(limit);
  }
  if (result.output != nullptr) Tell(*result.output, attempt.mutable_stdout());
  if (result.errors != nullptr) Tell(*result.errors, attempt.mutable_stderr());
  attempt.set_leftovers(result.leftovers);
  SurvivorList escaped;
  escaped.Add("", result.escaped);
  for (v1::Survivor& each : escaped.named) *attempt.add_survivors() = std::move(each);
  attempt.set_survivor_count(escaped.count);
  return attempt;
}

google::rpc::Status ToProto(const absl::Status& status) {
  google::rpc::Status message;
  message.set_code(static_cast<int>(status.code()));
  message.set_message(ToUtf8(Message(status)));
  return message;
}

google::protobuf::Timestamp ToProto(std::chrono::system_clock::time_point time) {
  const auto nanos =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  google::protobuf::Timestamp stamp;
  stamp.set_seconds(nanos / 1'000'000'000);
  stamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return stamp;
}

google::protobuf::Duration ToProto(Duration duration) {
  google::protobuf::Duration message;
  message.set_seconds(duration.count() / 1'000'000'000);
  message.set_nanos(static_cast<int32_t>(duration.count() % 1'000'000'000));
  return message;
}

Duration FromProto(const google::protobuf::Duration& duration) {
  // A century, so that no client's number overflows ours.
  constexpr int64_t kMaxSeconds = int64_t{100} * 366 * 24 * 3600;
  const int64_t seconds = std::clamp(duration.seconds(), -kMaxSeconds, kMaxSeconds);
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(duration.nanos());
}

std::chrono::system_clock::time_point FromProto(const google::protobuf::Timestamp& time) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::seconds(time.seconds()) + std::chrono::nanoseconds(time.nanos())));
}

std::string_view ShortName(v1::NodeState state) {
  if (state == v1::NODE_STATE_UNSPECIFIED) return "UNSPECIFIED";
  return Name(static_cast<NodeState>(static_cast<int>(state) - 1));
}

}  // namespace nursery::engine
