#include "server/engine/needs.h"

#include "nursery/core/check.h"

namespace nursery::engine {
namespace {

bool IsFailed(const NeedEnd& need) {
  return need == ChildClass::kFailure || need == ChildClass::kDerived;
}

struct Summary {
  bool all_ended = true;
  bool unsatisfied = false;
  bool failed = false;
};

Summary Summarize(std::span<const NeedEnd> needs) {
  Summary summary;
  for (const NeedEnd& need : needs) {
    summary.all_ended &= need.has_value();
    summary.unsatisfied |= need.has_value() && need != ChildClass::kSuccess;
    summary.failed |= IsFailed(need);
  }
  return summary;
}

}  // namespace

NeedsDecision DecideNeeds(spec::When when, std::span<const NeedEnd> needs) {
  const Summary summary = Summarize(needs);
  if (when == spec::When::kSuccess && summary.unsatisfied) {
    return {Readiness::kSkipped, EventKind::kNeedsUnmet, summary.failed};
  }
  if (!summary.all_ended) return {Readiness::kWaiting};
  if (when == spec::When::kFailure && !summary.failed) {
    return {Readiness::kSkipped, EventKind::kConditionUnmet};
  }
  return {Readiness::kReady};
}

std::string_view Name(Readiness readiness) {
  switch (readiness) {
    case Readiness::kWaiting:
      return "waiting";
    case Readiness::kReady:
      return "ready";
    case Readiness::kSkipped:
      return "skipped";
  }
  NURSERY_CHECK(false) << "no such Readiness: " << static_cast<int>(readiness);
}

}  // namespace nursery::engine
