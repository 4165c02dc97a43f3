#include "nursery/core/join.h"

#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery::internal {
namespace {

// Whether `status` is `told`, passed on: as it is, or behind what Annotate puts in front of it.
bool Passes(const absl::Status& status, const absl::Status& told) {
  if (status == told) return true;
  std::string_view text = Message(status);
  if (status.code() != told.code() || !text.ends_with(Message(told))) return false;
  text.remove_suffix(Message(told).size());
  return text.ends_with(": ");
}

}  // namespace

absl::Status Validate(const Join& join) {
  const int64_t least = join.kind == Join::Kind::kQuorum ? 1 : 0;
  if (join.count >= least) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "a join counts at least to " +
                                                       std::to_string(least) + "; this one to " +
                                                       std::to_string(join.count));
}

absl::Status Validate(const GroupOptions& options) {
  if (options.limit >= 0) return Validate(options.join);
  return Error(absl::StatusCode::kInvalidArgument,
               "a group has a limit of at least 0; this is " + std::to_string(options.limit));
}

std::optional<Cause> JoinState::Decide(CauseKind kind, absl::Status outcome,
                                       absl::Status for_others) {
  decided_ = true;
  result_.status = std::move(outcome);
  told_ = for_others;
  return Cause(kind, std::move(for_others));
}

std::optional<Cause> JoinState::OnTaskEnded(std::string_view name, const absl::Status& status,
                                            absl::FunctionRef<absl::Status()> outside) {
  if (status.ok()) return OnSuccess();
  if (decided_ && Passes(status, told_)) {
    ++result_.cancelled;
    return std::nullopt;
  }
  if (join_.kind == Join::Kind::kMaxFailures) {
    const absl::Status told = outside();
    if (!told.ok() && Passes(status, told)) {
      cut_short_ = told;
      ++result_.cancelled;
      return std::nullopt;
    }
  }
  return OnFailure(name, status);
}

std::optional<Cause> JoinState::OnSuccess() {
  ++result_.succeeded;
  if (decided_ || !join_.wants_success() || result_.succeeded < join_.count) return std::nullopt;
  return Decide(CauseKind::kGroupDecided, absl::OkStatus(),
                Error(absl::StatusCode::kCancelled, "the group has succeeded without this task"));
}

std::optional<Cause> JoinState::OnFailure(std::string_view name, const absl::Status& status) {
  if (PLANTED(error_after_join_lost) && decided_) return std::nullopt;
  ++result_.error_count;
  if (result_.errors.size() < kMaxGroupErrors)
    result_.errors.push_back({std::string(name), status});
  if (decided_) return std::nullopt;
  const bool decides = join_.kind == Join::Kind::kAll || (join_.kind == Join::Kind::kMaxFailures &&
                                                          result_.error_count > join_.count);
  if (!decides) return std::nullopt;
  return Decide(CauseKind::kSiblingFailed, status,
                Error(absl::StatusCode::kCancelled,
                      "sibling " + std::string(name) + " failed: " + std::string(Message(status))));
}

std::optional<Cause> JoinState::OnBodyEnded(const absl::Status& status) {
  if (status.ok() || decided_ || PLANTED(body_error_lost)) return std::nullopt;
  return Decide(CauseKind::kScopeEnded, status,
                Error(absl::StatusCode::kCancelled,
                      "the body of the group failed: " + std::string(Message(status))));
}

std::optional<Cause> JoinState::OnStopped(const absl::Status& status) {
  if (decided_) return std::nullopt;
  return Decide(CauseKind::kExplicit, status, status);
}

std::optional<Cause> JoinState::OnRemaining(int64_t running) {
  if (decided_ || !join_.wants_success()) return std::nullopt;
  if (result_.succeeded + running >= join_.count) return std::nullopt;
  const std::string shortfall = std::to_string(result_.succeeded) + " of the required " +
                                std::to_string(join_.count) + " tasks succeeded";
  absl::Status outcome = result_.errors.empty()
                             ? Error(absl::StatusCode::kFailedPrecondition, shortfall)
                             : Annotate(result_.errors.front().status, shortfall);
  return Decide(
      CauseKind::kGroupDecided, outcome,
      Error(absl::StatusCode::kCancelled, "the group has failed: " + shortfall + " at most"));
}

GroupResult JoinState::TakeResult() {
  if (decided_) return std::move(result_);
  if (join_.kind == Join::Kind::kCollect && !result_.errors.empty()) {
    result_.status = result_.errors.front().status;
  }
  if (!cut_short_.ok()) result_.status = cut_short_;
  return std::move(result_);
}

}  // namespace nursery::internal
