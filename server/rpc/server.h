// Server: listens, takes calls, and runs each as a task with the call's deadline and cancellation
// as its context.
//
// Thread safety: Serve once; InProcessChannel, BeginDrain and stats from any thread.
// Lifetime: outlives Serve; the methods and the executor outlive the server.
// Suspends: Serve until its context is cancelled and every call has ended.
//
//   absl::StatusOr<std::unique_ptr<Server>> server = Server::Create(options, methods);
//   absl::Status served = co_await (*server)->Serve(ctx);
#ifndef NURSERY_SERVER_RPC_SERVER_H_
#define NURSERY_SERVER_RPC_SERVER_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/group.h"
#include "server/rpc/auth.h"
#include "server/rpc/connections.h"
#include "server/rpc/listener.h"
#include "server/rpc/methods.h"
#include "server/rpc/places.h"
#include "server/rpc/queue.h"
#include "server/rpc/tls.h"

namespace nursery::rpc {

struct ServerLimits {
  ServerLimits() = default;

  int64_t calls = 10'000;
  ConnectionLimits connections;
};

struct ServerOptions {
  ServerOptions() = default;

  std::vector<std::string> listen;  // see Listener::Open
  std::optional<TlsFiles> tls;
  std::shared_ptr<const CurrentTokens> tokens;  // required where it listens
  ServerLimits limits;
  int max_message_bytes = 16 << 20;  // -1: no limit
  // More wait in the client until some have ended.
  int calls_per_connection = 256;
  // How long calls may take to end once the server stops.
  Duration call_grace = std::chrono::seconds(2);
};

class Server {
 public:
  // Listens from now on, but takes no call before Serve. FAILED_PRECONDITION: an address that is
  // not loopback without TLS; INVALID_ARGUMENT: TLS that cannot work.
  static absl::StatusOr<std::unique_ptr<Server>> Create(ServerOptions options,
                                                        const Methods& methods,
                                                        ThreadExecutor& executor);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Async<absl::Status> Serve(Context context);

  // From now on what starts work is refused as UNAVAILABLE.
  void BeginDrain() { draining_.store(true); }
  bool draining() const { return draining_.load(); }
  // Calls are taken.
  bool serving() const { return serving_.load(); }

  // Addresses that were taken, in the order of `listen`.
  std::vector<std::string> addresses() const;
  // To this server from the same process, for one that listens nowhere.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // For calls and connections that come from now on.
  void SetLimits(const ServerLimits& limits);

  int64_t calls() const { return calls_.load(std::memory_order_relaxed); }
  int64_t connections() { return connections_.open(); }
  int64_t refused_connections() const { return connections_.refused(); }
  int64_t rejected_calls() const { return rejected_.load(std::memory_order_relaxed); }
  // Whose deadline had passed when they came.
  int64_t late_calls() const { return late_.load(std::memory_order_relaxed); }
  const Methods& methods() const { return methods_; }

 private:
  Server(ServerOptions options, const Methods& methods, ThreadExecutor& executor);
  absl::Status Start();

  // One admission for all methods: identity, scope, deadline, limits, drain.
  absl::StatusOr<Identity> Admit(const Call& call, const Method& method, Time deadline, Time now);
  absl::StatusOr<Identity> Identify(const Call& call) const;
  // Only the owner of the server can open its socket.
  static bool IsLocal(const Call& call) { return call.peer().starts_with("unix:"); }

  static Async<absl::Status> SpawnAll(Group& group, Server* server, Context calls);
  static Async<void> AcceptCalls(Context context, Server* server, Group* group, Context calls);
  static Async<void> RunCall(Context context, Server* server, const Method* method,
                             std::unique_ptr<Call> call, Context calls);
  static Async<void> AnswerCall(Context calls, Server* server, const Method* method, Call* call);

  const ServerOptions options_;
  const Methods& methods_;
  ThreadExecutor& executor_;
  std::vector<Listener> listeners_;
  Connections connections_;
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> plain_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> secure_;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> serving_{false};
  std::atomic<int64_t> max_calls_;
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> rejected_{0};
  // Of health and reflection, by whoever reaches a port and by those on the owner's socket.
  Places open_streams_{64};
  Places local_open_streams_{64};
  std::atomic<int64_t> late_{0};
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_SERVER_H_
