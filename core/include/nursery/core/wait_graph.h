// The wait-for graph of all live tasks: those that wait for each other in a circle, and all that
// nothing but a cancellation or a deadline will wake, as the deadlocked goroutines that the garbage
// collector of Go finds, without one.
//
// A task can go on when it does not wait; when it waits for time, a descriptor, a blocking call or
// a cancellation; or when what it waits for may come from a task that can: a child that it joins, a
// holder of permits, a task with a handle on the other end of its channel, or a task below one of
// these, which may refer to what its parent holds. What is held by nobody known counts as free: a
// permit that was moved, a handle that was copied or moved, other than as an argument of a task. So
// not every deadlock is found, but what is found is one, unless the holder has passed on what it
// holds by a pointer to a task that does not run below it, or to a thread.
//
// Thread safety: any thread. Nothing is stopped: the tasks are looked at twice, and only those that
// stood still from before the first to after the second look are named. Costs about two dumps.
//
//   const WaitGraph graph = FindWaitCycles();
//   if (!graph.unreachable.empty()) std::cerr << FormatWaitGraph(graph);
#ifndef NURSERY_CORE_WAIT_GRAPH_H_
#define NURSERY_CORE_WAIT_GRAPH_H_

#include <string>
#include <vector>

#include "nursery/core/leak.h"

namespace nursery {

// Each task waits for the next one, or for what it holds; the last for the first. One task alone
// waits for itself.
using WaitCycle = std::vector<leak::LiveTask>;

struct WaitGraph {
  // One for each knot of tasks that wait for each other, kMaxWaitCycles at most.
  std::vector<WaitCycle> cycles;
  // Every task in a cycle, and whoever waits for one of these; in the order of their spawns.
  std::vector<leak::LiveTask> unreachable;
};
inline constexpr size_t kMaxWaitCycles = 20;

// Of all executors of the process.
[[nodiscard]] WaitGraph FindWaitCycles();

// For people: the cycles task by task, then at most 100 of the others that nothing can wake. Empty
// when there are none.
std::string FormatWaitGraph(const WaitGraph& graph);

}  // namespace nursery

#endif  // NURSERY_CORE_WAIT_GRAPH_H_
