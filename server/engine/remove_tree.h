// RemoveTree: removes a directory with all below it, however deep that is and whatever its owner
// has forbidden himself. Follows no link, and leaves alone what is mounted there.
//
// It needs two descriptors and no recursion: a directory that is not empty hands what it holds up
// to the root, one level at a time.
//
// Thread safety: any thread. What others put there meanwhile may be left. Blocks. Needs Linux 5.6.
#ifndef NURSERY_SERVER_ENGINE_REMOVE_TREE_H_
#define NURSERY_SERVER_ENGINE_REMOVE_TREE_H_

#include <string>

#include "nursery/core/clock.h"

namespace nursery::engine {

// Stops at `until`. False if something is left; what is not there is removed.
bool RemoveTree(const std::string& path, Time until = kNever);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_REMOVE_TREE_H_
