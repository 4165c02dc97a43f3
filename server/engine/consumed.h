// Which nodes' outputs the job itself reads, and so must be kept whole.
//
// Thread safety: a pure function.
#ifndef NURSERY_SERVER_ENGINE_CONSUMED_H_
#define NURSERY_SERVER_ENGINE_CONSUMED_H_

#include <vector>

#include "server/spec/job.h"

namespace nursery::engine {

// By number of the node. A map whose output is read stands with the node that it runs.
std::vector<bool> ConsumedOutputs(const spec::Job& job);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_CONSUMED_H_
