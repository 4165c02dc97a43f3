#include "server/engine/state_table.h"

#include <cstddef>

#include "nursery/core/check.h"

namespace nursery::engine {
namespace {

// What a cell of the table says: an index into kNodeStatuses, or one of the two last.
enum Cell : uint8_t {
  kPend,
  kRun,
  kEndS,
  kEndF,
  kEndC,
  kEndD,
  kSucc,
  kFail,
  kCanc,
  kDead,
  kSkip,
  kLate,  // ignored
  kBug_,  // refused
};

struct Row {
  EventKind event;
  std::string_view name;
  CauseKind cause;
  std::optional<EventKind> below;
  std::array<Cell, kNodeStatuses.size()> cells;
};

using E = EventKind;
using C = CauseKind;
constexpr std::nullopt_t kNone = std::nullopt;

// Columns as in kNodeStatuses: PENDING, RUNNING, four times ENDING by outcome, the five ends.
// clang-format off
constexpr std::array<Row, kEventKinds> kTable = {{
    {E::kStart, "Start", C::kNone, kNone,
     {kRun,  kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kRetry, "Retry", C::kNone, kNone,
     {kBug_, kRun,  kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kInterrupt, "Interrupt", C::kNone, kNone,
     {kBug_, kRun,  kLate, kLate, kLate, kLate, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kSucceed, "Succeed", C::kNone, E::kGroupDecided,
     {kBug_, kEndS, kLate, kLate, kLate, kLate, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kFail, "Fail", C::kFailed, E::kSiblingFailed,
     {kBug_, kEndF, kLate, kLate, kLate, kLate, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kCancel, "Cancel", C::kCancelled, E::kCancel,
     {kSkip, kEndC, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kSiblingFailed, "SiblingFailed", C::kSiblingFailed, E::kSiblingFailed,
     {kSkip, kEndC, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kGroupDecided, "GroupDecided", C::kGroupDecided, E::kGroupDecided,
     {kSkip, kEndC, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kDrain, "Drain", C::kDrain, E::kDrain,
     {kSkip, kEndC, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kOwnTimeout, "OwnTimeout", C::kDeadline, E::kAncestorDeadline,
     {kDead, kEndD, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kQueueTimeout, "QueueTimeout", C::kDeadline, E::kAncestorDeadline,
     {kDead, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kAncestorDeadline, "AncestorDeadline", C::kDeadline, E::kAncestorDeadline,
     {kSkip, kEndD, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate, kLate}},
    {E::kNeedsUnmet, "NeedsUnmet", C::kDependency, E::kNeedsUnmet,
     {kSkip, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kLate, kLate}},
    {E::kConditionUnmet, "ConditionUnmet", C::kCondition, E::kConditionUnmet,
     {kSkip, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kBug_, kLate, kLate}},
    {E::kFinallyFailed, "FinallyFailed", C::kFinally, kNone,
     {kBug_, kBug_, kEndF, kLate, kLate, kLate, kBug_, kBug_, kBug_, kBug_, kBug_}},
    {E::kGone, "Gone", C::kNone, kNone,
     {kBug_, kBug_, kSucc, kFail, kCanc, kDead, kBug_, kBug_, kBug_, kBug_, kBug_}},
}};
// clang-format on

constexpr bool RowsFollowTheEnum() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (kTable[i].event != static_cast<EventKind>(i)) return false;
  }
  return true;
}
static_assert(RowsFollowTheEnum(), "kTable is indexed by EventKind");

const Row& RowOf(EventKind event) {
  const auto index = static_cast<size_t>(event);
  NURSERY_CHECK(index < kTable.size()) << "no such EventKind: " << index;
  return kTable[index];
}

size_t ColumnOf(NodeStatus status) {
  for (size_t i = 0; i < kNodeStatuses.size(); ++i) {
    if (kNodeStatuses[i] == status) return i;
  }
  NURSERY_CHECK(false) << "no node can be " << Name(status.state) << " with outcome "
                       << Name(status.outcome);
}

}  // namespace

Transition Next(NodeStatus from, EventKind event) {
  const Cell cell = RowOf(event).cells[ColumnOf(from)];
  if (cell == kLate) return {Effect::kIgnored, from};
  if (cell == kBug_) return {Effect::kRefused, from};
  return {Effect::kMoves, kNodeStatuses[cell]};
}

CauseKind CauseOf(EventKind event) { return RowOf(event).cause; }

std::optional<EventKind> EventBelow(EventKind event) { return RowOf(event).below; }

std::string_view Name(EventKind event) { return RowOf(event).name; }

}  // namespace nursery::engine
