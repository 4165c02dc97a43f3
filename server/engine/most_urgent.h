// Which lines of a tree are shown where not all can be.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_ENGINE_MOST_URGENT_H_
#define NURSERY_SERVER_ENGINE_MOST_URGENT_H_

#include <cstddef>
#include <vector>

#include "server/engine/state_table.h"

namespace nursery::engine {

// Of one line, parents before children.
struct LineState {
  LineState(int the_depth, NodeState the_state) : depth(the_depth), state(the_state) {}

  int depth;
  NodeState state;
};

// The places of at most `limit` lines. Those that have failed come first, then those that run, then
// those that wait, each with all that is above them; of what is equal, what is further up. They are
// in the order of the tree, but for siblings of which some are left out: the urgent ones lead.
std::vector<size_t> MostUrgent(const std::vector<LineState>& lines, size_t limit);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_MOST_URGENT_H_
