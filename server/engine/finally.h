// Whether a node's `finally` runs when the node ends.
//
// Thread safety: a pure function.
//
//   if (DecideFinally(node.started, teardown) == FinallyStep::kRuns) RunFinally(node);
#ifndef NURSERY_SERVER_ENGINE_FINALLY_H_
#define NURSERY_SERVER_ENGINE_FINALLY_H_

#include <cstdint>

namespace nursery::engine {

enum class Teardown : uint8_t {
  kGraceful,  // SIGTERM, grace, SIGKILL, then `finally`
  kKill,      // a cancel that kills, a second Ctrl-C, the hard bound of a drain
};

enum class FinallyStep : uint8_t {
  kRuns,     // once, after the last attempt is gone, shielded from every cancel but kKill
  kSkipped,  // owed but not run (or killed under way): the receipt lists it
  kNotDue,   // the node never started, so there is nothing to clean up
};

// `started`: an attempt was made, or the inner node opened. How the node ended does not matter.
constexpr FinallyStep DecideFinally(bool started, Teardown teardown) {
  if (!started) return FinallyStep::kNotDue;
  return teardown == Teardown::kKill ? FinallyStep::kSkipped : FinallyStep::kRuns;
}

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_FINALLY_H_
