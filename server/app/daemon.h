// Daemon: the server program: takes jobs over gRPC until it is told to stop, then drains.
//
// Thread safety: one thread. Lifetime: made before other threads.
//
//   absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Create(options);
//   absl::Status done = (*daemon)->Run();
#ifndef NURSERY_SERVER_APP_DAEMON_H_
#define NURSERY_SERVER_APP_DAEMON_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "server/app/config.h"
#include "server/app/data_dir.h"
#include "server/app/parts.h"
#include "server/app/signals.h"
#include "server/engine/job_table.h"
#include "server/ops/http_server.h"
#include "server/rpc/server.h"

namespace nursery::rpc {
class IntrospectionService;
class JobService;
}  // namespace nursery::rpc

namespace nursery::app {

class Daemon {
 public:
  // Listens from now on. An error says in one line what is in the way.
  static absl::StatusOr<std::unique_ptr<Daemon>> Create(DaemonOptions options);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Until SIGTERM, SIGINT or DrainServer, and the drain that follows. SIGHUP reloads meanwhile.
  absl::Status Run();

  std::vector<std::string> addresses() const { return server_->addresses(); }
  // How processes are contained, and why there are no cgroups if there are none.
  const std::string& containment() const { return containment_; }
  // Empty: no HTTP is served.
  std::string http_address() const { return http_ == nullptr ? "" : http_->address(); }

 private:
  struct Scopes;
  struct StopRequest {
    Duration bound{};
  };

  Daemon(DaemonOptions options, DataDir data_dir);
  Daemon(DaemonOptions options, DataDir data_dir,
         std::pair<Sender<StopRequest>, Receiver<StopRequest>> stops);
  absl::Status Build(const v1::ServerConfig& config);
  absl::Status MakeParts(PartsOptions options);
  absl::Status StartHttp();
  absl::StatusOr<rpc::Tokens> ReadTokens(const v1::ServerConfig& config) const;
  // Reads the configuration and the tokens again, and applies what can change while it runs, or
  // nothing if something is wrong. Blocks.
  absl::Status Reload();
  absl::Status WriteAddressFile() const;

  static Async<absl::Status> RunAll(Context context, Daemon* daemon);
  static Async<absl::Status> SpawnAll(Group& group, Daemon* daemon, Scopes* scopes);
  static Async<absl::Status> WaitForSignals(Context context, Daemon* daemon);
  static Async<void> Drain(Context context, Daemon* daemon, Duration bound);
  // Until all jobs have ended, somebody asks again, or the bound has passed.
  static Async<bool> WaitForJobs(Context context, Daemon* daemon, Time until);
  int64_t CancelAll(bool kill);

  const DaemonOptions options_;
  DataDir data_dir_;
  v1::ServerConfig config_;           // as it was at the start
  std::optional<rpc::TlsFiles> tls_;  // as above
  Signals signals_{SIGHUP, SIGINT, SIGTERM};
  std::unique_ptr<Parts> parts_;
  std::string containment_;
  std::unique_ptr<engine::JobTable> table_;
  std::unique_ptr<rpc::JobService> jobs_;
  std::unique_ptr<rpc::IntrospectionService> introspection_;
  rpc::Methods methods_;
  std::shared_ptr<rpc::CurrentTokens> tokens_;
  std::unique_ptr<rpc::Server> server_;
  Sender<StopRequest> stop_;
  Receiver<StopRequest> stops_;
  std::unique_ptr<ops::HttpServer> http_;  // reads all of the above
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_DAEMON_H_
