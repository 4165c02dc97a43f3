// IntrospectionService and AdminService: what the server is, what it does, and how it is stopped.
//
// Thread safety: any thread. Lifetime: outlives the server; the table outlives it.
#ifndef NURSERY_SERVER_RPC_INTROSPECTION_SERVICE_H_
#define NURSERY_SERVER_RPC_INTROSPECTION_SERVICE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nursery/core/semaphore.h"
#include "nursery/v1/admin_service.pb.h"
#include "nursery/v1/introspection_service.pb.h"
#include "server/engine/job_table.h"
#include "server/rpc/methods.h"

namespace nursery::rpc {

// What only the composition root knows.
struct ServerFacts {
  ServerFacts() = default;

  std::string version;
  std::string instance_id;
  std::vector<std::string> functions;
  // Limits of whole attempts that hold here: features, as "limits.memory".
  std::function<std::vector<std::string>()> enforced = [] { return std::vector<std::string>(); };
  std::function<spec::Limits()> job_limits;
  std::function<int64_t()> processes = [] { return 0; };
  std::function<int64_t()> calls = [] { return 0; };
  std::function<int64_t()> watchers = [] { return 0; };
  // Asks the server to stop within a time, its own if unset; gives how many jobs that cancels.
  std::function<int64_t(std::optional<Duration> bound)> drain;
};

class IntrospectionService {
 public:
  IntrospectionService(engine::JobTable& table, ServerFacts facts);

  void AddTo(Methods& methods);

 private:
  absl::StatusOr<v1::ServerInfo> GetServerInfo(const v1::GetServerInfoRequest& request);
  absl::StatusOr<v1::ServerStats> GetServerStats(const v1::GetServerStatsRequest& request);
  absl::StatusOr<v1::ListPoolsResponse> ListPools(const v1::ListPoolsRequest& request);
  absl::StatusOr<v1::ListSemaphoresResponse> ListSemaphores(
      const v1::ListSemaphoresRequest& request);
  absl::StatusOr<std::shared_ptr<engine::Job>> Find(const std::string& id) const;
  absl::StatusOr<v1::Explanation> ExplainNode(const v1::ExplainNodeRequest& request);
  absl::StatusOr<v1::FindWaitCyclesResponse> FindWaitCycles(
      const v1::FindWaitCyclesRequest& request);
  absl::StatusOr<v1::DrainServerResponse> DrainServer(const v1::DrainServerRequest& request);
  static Async<absl::Status> DumpTasks(Context context, Session* session, Semaphore* dumps,
                                       v1::DumpTasksRequest request);

  engine::JobTable& table_;
  const ServerFacts facts_;
  const WallTime start_time_;
  Semaphore dumps_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_INTROSPECTION_SERVICE_H_
