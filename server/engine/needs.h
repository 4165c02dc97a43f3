// Whether a node that needs siblings may start, waits, or is skipped.
//
// Thread safety: a pure function.
//
//   const NeedsDecision decision = DecideNeeds(node.when, ends_of_needs);
//   if (decision.readiness == Readiness::kReady) MakeEligible(node);
#ifndef NURSERY_SERVER_ENGINE_NEEDS_H_
#define NURSERY_SERVER_ENGINE_NEEDS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "server/engine/join.h"
#include "server/engine/state_table.h"
#include "server/spec/job.h"

namespace nursery::engine {

enum class Readiness : uint8_t { kWaiting, kReady, kSkipped };

struct NeedsDecision {
  Readiness readiness;
  // For kSkipped: what to apply to the node, and ChildEnd::after_failure of its end.
  EventKind event = EventKind::kNeedsUnmet;
  bool after_failure = false;
};

// How a need ended, as its group classifies it; nothing while it has not. A need is satisfied only
// when its `finally` has ended too, so callers report it then.
using NeedEnd = std::optional<ChildClass>;

// To be asked while the group is open; a closed group skips the node whatever its needs did.
NeedsDecision DecideNeeds(spec::When when, std::span<const NeedEnd> needs);

std::string_view Name(Readiness readiness);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_NEEDS_H_
