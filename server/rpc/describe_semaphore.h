// A semaphore as a resource, and who holds what a node waits for.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_DESCRIBE_SEMAPHORE_H_
#define NURSERY_SERVER_RPC_DESCRIBE_SEMAPHORE_H_

#include <string>

#include "nursery/core/clock.h"
#include "nursery/v1/introspection_service.pb.h"
#include "server/engine/named_semaphore.h"

namespace nursery::rpc {

// `parent` is "", or that of a job's own: "jobs/ID/".
v1::Semaphore ToProto(const engine::SemaphoreView& view, const std::string& parent,
                      const Clock& clock);

// What `view` has to do with the wait of the node `path` of `job`.
void ExplainSemaphore(const engine::SemaphoreView& view, const std::string& job,
                      const std::string& path, const Clock& clock, v1::Explanation* explanation);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_DESCRIBE_SEMAPHORE_H_
