// The wait-for graph of the server's tasks as messages.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_DESCRIBE_WAITS_H_
#define NURSERY_SERVER_RPC_DESCRIBE_WAITS_H_

#include "nursery/core/wait_graph.h"
#include "nursery/v1/introspection_service.pb.h"
#include "server/engine/job_table.h"

namespace nursery::rpc {

// `table` has the jobs for whose nodes tasks work.
v1::FindWaitCyclesResponse ToProto(const WaitGraph& graph, const engine::JobTable& table);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_DESCRIBE_WAITS_H_
