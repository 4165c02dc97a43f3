#include "server/engine/join.h"

#include <cmath>

#include "nursery/core/check.h"
#include "nursery/core/internal/planted.h"

namespace nursery::engine {
namespace {

using Policy = spec::Join::Policy;

ChildClass ClassifySkipped(const ChildEnd& end) {
  switch (end.cause) {
    case CauseKind::kDependency:
      return end.after_failure ? ChildClass::kDerived : ChildClass::kNeutral;
    case CauseKind::kSiblingFailed:
      return ChildClass::kDerived;
    default:
      return ChildClass::kNeutral;
  }
}

// A cancel says for itself how it counts, so `allow_failure` has no say in it.
ChildClass ClassifyCancelled(const ChildEnd& end) {
  return end.counts_as == CountsAs::kSkipped ? ChildClass::kNeutral : ChildClass::kFailure;
}

// How many failures the policies that count them tolerate.
int64_t MaxFailures(const spec::Join& join, uint32_t children) {
  if (join.policy == Policy::kMaxFailures) return join.count;
  if (join.policy != Policy::kMaxFailuresPercent) return 0;
  // 0.29 % of 10,000 is 29, which binary fractions miss by a hair.
  constexpr double kRounding = 1e-6;
  return static_cast<int64_t>(std::floor(join.percent / 100 * children + kRounding));
}

}  // namespace

ChildClass Classify(const ChildEnd& end) {
  switch (end.outcome) {
    case Outcome::kSucceeded:
      return ChildClass::kSuccess;
    case Outcome::kFailed:
    case Outcome::kDeadlineExceeded:
      return end.allow_failure ? ChildClass::kSuccess : ChildClass::kFailure;
    case Outcome::kCancelled:
      if (end.cause == CauseKind::kCancelled) return ClassifyCancelled(end);
      return ChildClass::kNeutral;
    case Outcome::kSkipped:
      if (end.cause == CauseKind::kCancelled) return ClassifyCancelled(end);
      return ClassifySkipped(end);
    case Outcome::kUndecided:
      break;
  }
  NURSERY_CHECK(false) << "child " << end.child << " ended without an outcome";
}

std::string_view Name(ChildClass child_class) {
  switch (child_class) {
    case ChildClass::kSuccess:
      return "success";
    case ChildClass::kFailure:
      return "failure";
    case ChildClass::kDerived:
      return "derived";
    case ChildClass::kNeutral:
      return "neutral";
  }
  NURSERY_CHECK(false) << "no such ChildClass: " << static_cast<int>(child_class);
}

JoinAccounting::JoinAccounting(spec::Join join, uint32_t children)
    : join_(join), children_(children), max_failures_(MaxFailures(join, children)) {}

std::optional<JoinDecision> JoinAccounting::OnOpened() {
  NURSERY_CHECK(ended_ == 0) << "a group is opened before its children end";
  if (decided_) return std::nullopt;
  if (IsUnreachable()) return Decide(Outcome::kFailed, std::nullopt);
  if (IsMet()) return Decide(Outcome::kSucceeded, std::nullopt);
  return std::nullopt;
}

std::optional<JoinDecision> JoinAccounting::OnChildEnded(const ChildEnd& end) {
  NURSERY_CHECK(ended_ < children_)
      << "child " << end.child << " of " << children_ << " ended twice";
  ++ended_;
  if (decided_) return std::nullopt;
  switch (Classify(end)) {
    case ChildClass::kSuccess:
      ++counts_.success;
      break;
    case ChildClass::kFailure:
      ++counts_.failure;
      break;
    case ChildClass::kDerived:
      ++counts_.derived;
      break;
    case ChildClass::kNeutral:
      ++counts_.neutral;
      break;
  }
  if (IsUnreachable()) {
    if (!first_unreachable_) first_unreachable_ = end;
    // `collect` lets every child end; its outcome is known before and announced then.
    if (join_.policy == Policy::kCollect && !all_ended()) return std::nullopt;
    const bool cancelled = first_unreachable_->cause == CauseKind::kCancelled;
    return Decide(cancelled ? Outcome::kCancelled : Outcome::kFailed, first_unreachable_->child);
  }
  if (IsMet()) return Decide(Outcome::kSucceeded, end.child);
  return std::nullopt;
}

bool JoinAccounting::IsMet() const {
  if (join_.policy == Policy::kAny) return counts_.success > 0;
  const int64_t wanted = PLANTED(quorum_one_short) ? join_.count - 1 : join_.count;
  if (join_.policy == Policy::kQuorum) return counts_.success >= wanted;
  return all_ended();
}

bool JoinAccounting::IsUnreachable() const {
  const int64_t possible = int64_t{counts_.success} + (children_ - ended_);
  switch (join_.policy) {
    case Policy::kAll:
    case Policy::kCollect:
      return counts_.failure + counts_.derived > 0;
    case Policy::kAny:
      return possible == 0;
    case Policy::kQuorum:
      return possible < join_.count;
    case Policy::kMaxFailures:
    case Policy::kMaxFailuresPercent:
      return counts_.failure > max_failures_;
  }
  NURSERY_CHECK(false) << "no such join policy: " << static_cast<int>(join_.policy);
}

JoinDecision JoinAccounting::Decide(Outcome outcome, std::optional<uint32_t> child) {
  decided_ = true;
  switch (outcome) {
    case Outcome::kSucceeded:
      return {outcome, EventKind::kSucceed, EventKind::kGroupDecided, child};
    case Outcome::kFailed:
      return {outcome, EventKind::kFail, EventKind::kSiblingFailed, child};
    case Outcome::kCancelled:
      return {outcome, EventKind::kCancel, EventKind::kSiblingFailed, child};
    default:
      NURSERY_CHECK(false) << "children do not make a group " << Name(outcome);
  }
}

}  // namespace nursery::engine
