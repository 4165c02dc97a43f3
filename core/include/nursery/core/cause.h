// Cause: why something was cancelled: what kind of reason, who, where, when.
//
// A cause is made once, where the cancellation starts, and travels unchanged to every leaf below.
//
// Thread safety: a Cause is immutable once it is shared.
#ifndef NURSERY_CORE_CAUSE_H_
#define NURSERY_CORE_CAUSE_H_

#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "nursery/core/clock.h"

namespace nursery {

enum class CauseKind : uint8_t {
  kExplicit,       // somebody asked for it
  kDeadline,       // the deadline of a scope passed
  kSiblingFailed,  // a task of the same group failed
  kGroupDecided,   // the group has what it wanted
  kScopeEnded,     // the scope's body failed or left
  kShutdown,       // the process goes down
};
inline constexpr int kCauseKindCount = 6;

std::string_view Name(CauseKind kind);

struct Cause {
  Cause(CauseKind the_kind, absl::Status the_status,
        std::source_location the_site = std::source_location::current())
      : kind(the_kind), status(std::move(the_status)), site(the_site) {}

  CauseKind kind;
  // What a wait under the cancelled context returns; never OK.
  absl::Status status;
  // The line that cancelled.
  std::source_location site;
  // When, by the coarse clock; filled in by the cancellation.
  Time time{};
  // Who, for people: a user, a call, the label of a deadline; may be empty.
  std::string actor;
  // Identity of the scope that was cancelled, for comparison with CancelScope::id only.
  const void* scope = nullptr;
};

}  // namespace nursery

#endif  // NURSERY_CORE_CAUSE_H_
