// How the ends of a group's children become the group's outcome.
//
// ARCHITECTURE.md ("Children and their group") has the tables that test this file.
//
// Thread safety: none; a group's accounting belongs to whoever applies its job's events.
//
//   JoinAccounting join({.policy = spec::Join::Policy::kQuorum, .count = 2}, /*children=*/3);
//   join.OnChildEnded({.child = 0, .outcome = Outcome::kFailed, .cause = CauseKind::kFailed});
//   if (auto decision = join.OnChildEnded(end)) Apply(decision->event, decision->siblings);
#ifndef NURSERY_SERVER_ENGINE_JOIN_H_
#define NURSERY_SERVER_ENGINE_JOIN_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/engine/outcome.h"
#include "server/engine/state_table.h"
#include "server/spec/job.h"

namespace nursery::engine {

// What a cancel aimed at a child says about its group.
enum class CountsAs : uint8_t {
  kFailure,  // the child is missed like one that failed
  kSkipped,  // this branch is dropped, the others go on
};

struct ChildEnd {
  uint32_t child = 0;  // its index in the group
  Outcome outcome = Outcome::kUndecided;
  CauseKind cause = CauseKind::kNone;
  bool allow_failure = false;
  CountsAs counts_as = CountsAs::kFailure;
  bool after_failure = false;  // cause kDependency: its chain of needs began with a failure
};

enum class ChildClass : uint8_t {
  kSuccess,
  kFailure,
  kDerived,  // skipped because of a failure that is counted already
  kNeutral,  // neither helps nor harms
};

// How `end` counts in a group that is still undecided.
ChildClass Classify(const ChildEnd& end);

std::string_view Name(ChildClass child_class);

struct JoinDecision {
  Outcome outcome;                // SUCCEEDED, FAILED or CANCELLED
  EventKind event;                // what to apply to the group
  EventKind siblings;             // what to apply to the children that have not ended
  std::optional<uint32_t> child;  // whose end is the cause; none for a group without children
};

class JoinAccounting {
 public:
  struct Counts {
    uint32_t success = 0;
    uint32_t failure = 0;
    uint32_t derived = 0;
    uint32_t neutral = 0;
  };

  JoinAccounting(spec::Join join, uint32_t children);

  // Called once, when the group opens: decides a group that needs no child's end for it.
  std::optional<JoinDecision> OnOpened();

  // Called once for each child. Gives a decision at most once, never after Close.
  std::optional<JoinDecision> OnChildEnded(const ChildEnd& end);

  // Something else decided the group (a cancel, a deadline): ends are counted, nothing is decided.
  void Close() { decided_ = true; }

  bool decided() const { return decided_; }
  bool all_ended() const { return ended_ == children_; }
  // Of the ends until the decision.
  const Counts& counts() const { return counts_; }

 private:
  bool IsMet() const;
  bool IsUnreachable() const;
  JoinDecision Decide(Outcome outcome, std::optional<uint32_t> child);

  // Constant after construction.
  const spec::Join join_;
  const uint32_t children_;
  const int64_t max_failures_;

  uint32_t ended_ = 0;
  bool decided_ = false;
  Counts counts_;
  std::optional<ChildEnd> first_unreachable_;  // the end that made success impossible
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_JOIN_H_
