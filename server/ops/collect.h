// The parts of a scrape, one source file each. Only metrics.cc includes this.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_OPS_COLLECT_H_
#define NURSERY_SERVER_OPS_COLLECT_H_

#include "nursery/core/executor.h"
#include "server/engine/job_table.h"
#include "server/ops/family.h"
#include "server/rpc/server.h"
#include "server/warden/process_host.h"

namespace nursery::ops {

void CollectTasks(const Executor& executor, Families& families);
void CollectJobs(engine::JobTable& table, Families& families);
void CollectNodes(const engine::EngineStats& stats, Families& families);
void CollectPools(const engine::Engine& engine, Families& families);
// Those of the server.
void CollectSemaphores(const engine::Engine& engine, Families& families);
void CollectCalls(rpc::Server& server, Families& families);
// What was refused, by whichever part refused it.
void CollectLimits(engine::JobTable& table, rpc::Server& server, Families& families);
void CollectChildren(const warden::ProcessHost& host, Families& families);
// The server's own process, under the standard names.
void CollectProcess(Families& families);

}  // namespace nursery::ops

#endif  // NURSERY_SERVER_OPS_COLLECT_H_
