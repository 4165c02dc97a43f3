#include "server/rpc/server.h"

#include <grpcpp/security/server_credentials.h>

#include <utility>

#include "nursery/core/blocking.h"
#include "nursery/core/check.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/rpc/errors.h"

namespace nursery::rpc {
namespace {

constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kKeepaliveMillis = 20'000;
constexpr int kKeepaliveTimeoutMillis = 10'000;
constexpr int kPingIntervalMillis = 5'000;
constexpr int kHandshakeMillis = 10'000;
constexpr int kIdleMillis = 15 * 60 * 1000;
// Accepted calls wait for nobody: a task takes one and hands it on.
constexpr int kAccepters = 4;
// gRPC counts in milliseconds, and rounds up what a client sends: a deadline that is no further
// away than this may have passed when the call came.
constexpr std::chrono::milliseconds kDeadlineRounding{2};
// What to wait before another try, when a limit is reached.
constexpr std::chrono::seconds kRetryAfter{1};

void SetArguments(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.calls_per_connection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMillis);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kPingIntervalMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMillis);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMillis);
}

std::shared_ptr<grpc::ServerCredentials> Credentials(const TlsFiles& files) {
  grpc::SslServerCredentialsOptions options(
      files.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                              : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = files.client_ca;
  options.pem_key_cert_pairs.push_back({files.key, files.certificate});
  return grpc::SslServerCredentials(options);
}

void HandOver(grpc::experimental::ExternalConnectionAcceptor& acceptor, int listener_fd, int fd) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener_fd;
  parameters.fd = fd;
  acceptor.HandleNewConnection(&parameters);
}

// The client's clock started when it sent the call, the server's when the call came: its deadline
// passes before the one known here, by more the busier both are.
Time OutOfTime(Time start, Time deadline) {
  if (deadline == kNever) return kNever;
  return deadline - std::min<Duration>((deadline - start) / 5, std::chrono::seconds(1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(ServerOptions options,
                                                       const Methods& methods,
                                                       ThreadExecutor& executor) {
  std::unique_ptr<Server> server(new Server(std::move(options), methods, executor));
  absl::Status started = server->Start();
  if (!started.ok()) return started;
  return server;
}

Server::Server(ServerOptions options, const Methods& methods, ThreadExecutor& executor)
    : options_(std::move(options)),
      methods_(methods),
      executor_(executor),
      connections_(options_.limits.connections),
      max_calls_(options_.limits.calls) {}

Server::~Server() {
  if (server_ != nullptr) server_->Shutdown(Clock::Steady().WallNow());
  queue_.reset();
}

absl::Status Server::Start() {
  if (options_.tls) NURSERY_RETURN_IF_ERROR(CheckTls(*options_.tls));
  for (const std::string& address : options_.listen) {
    absl::StatusOr<Listener> listener = Listener::Open(address);
    if (!listener.ok()) return listener.status();
    if (!listener->is_unix() && !listener->is_loopback() && !options_.tls) {
      return Error(absl::StatusCode::kFailedPrecondition,
                   "--listen " + address +
                       " can be reached from other machines and needs TLS: set "
                       "auth.tls_certificate_file and auth.tls_key_file");
    }
    listeners_.push_back(*std::move(listener));
  }
  grpc::ServerBuilder builder;
  SetArguments(options_, builder);
  builder.RegisterAsyncGenericService(&service_);
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  plain_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD,
                                                                grpc::InsecureServerCredentials());
  if (options_.tls) {
    secure_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD,
                                                                   Credentials(*options_.tls));
  }
  queue_ = std::make_unique<Queue>(builder.AddCompletionQueue());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return Error(absl::StatusCode::kInternal, "gRPC cannot start");
  }
  return absl::OkStatus();
}

void Server::SetLimits(const ServerLimits& limits) {
  max_calls_.store(limits.calls, std::memory_order_relaxed);
  connections_.SetLimits(limits.connections);
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> addresses;
  for (const Listener& listener : listeners_) addresses.push_back(listener.address());
  return addresses;
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return server_->InProcessChannel(arguments);
}

Async<absl::Status> Server::Serve(Context context) {
  queue_->Start(executor_);
  // The tasks end when gRPC has shut down, which is after the calls have been told.
  const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
  GroupOptions collect;
  collect.join = Join::Collect();
  collect.beyond_max_tasks = true;  // the limit of calls bounds them
  GroupResult result =
      co_await WithGroup(shield.context(), collect, SpawnAll, this, std::move(context));
  co_return result.status;
}

Async<absl::Status> Server::SpawnAll(Group& group, Server* server, Context calls) {
  for (const Listener& listener : server->listeners_) {
    auto* acceptor =
        listener.is_unix() || !server->secure_ ? server->plain_.get() : server->secure_.get();
    const auto take = [acceptor](int listener_fd, int fd) { HandOver(*acceptor, listener_fd, fd); };
    absl::Status listening = group.TrySpawn(
        "listen " + listener.address(),
        [](Context, Server* self, const Listener* on, Context until,
           std::function<void(int, int)> hand_over) {
          return self->connections_.Accept(std::move(until), on, std::move(hand_over));
        },
        server, &listener, calls, std::function<void(int, int)>(take));
    if (!listening.ok()) co_return listening;
  }
  for (int i = 0; i < kAccepters; ++i) {
    absl::Status accepting = group.TrySpawn("accept calls", AcceptCalls, server, &group, calls);
    if (!accepting.ok()) co_return accepting;
  }
  server->serving_.store(true);
  absl::Status stopped = co_await UntilCancelled(calls);
  static_cast<void>(stopped);
  // Calls have been cancelled by their context; gRPC ends what has not ended by then.
  auto shut_down = [server] {
    server->server_->Shutdown(Clock::Steady().WallNow() +
                              std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                  server->options_.call_grace));
    return absl::OkStatus();
  };
  absl::Status shut = co_await RunBlocking(group.context(), std::move(shut_down));
  co_return shut;
}

Async<void> Server::AcceptCalls(Context, Server* server, Group* group, Context calls) {
  for (;;) {
    auto call = std::make_unique<Call>(server->service_, *server->queue_);
    const bool accepted = co_await call->Accept();
    if (!accepted) co_return;
    // Before the next one is accepted, so that a flood is counted, and refused, as it comes.
    server->calls_.fetch_add(1, std::memory_order_relaxed);
    const Method& method = server->methods_.Find(call->method());
    // The group has no limit, and its scope is shielded: it refuses nothing while this task runs.
    absl::Status spawned =
        group->TrySpawn(method.path, RunCall, server, &method, std::move(call), calls);
    NURSERY_CHECK(spawned.ok()) << spawned;
  }
}

Async<void> Server::RunCall(Context, Server* server, const Method* method,
                            std::unique_ptr<Call> call, Context calls) {
  co_await AnswerCall(std::move(calls), server, method, call.get());
  const bool gone = co_await call->Gone();
  static_cast<void>(gone);
  server->calls_.fetch_sub(1, std::memory_order_relaxed);
}

Async<void> Server::AnswerCall(Context calls, Server* server, const Method* asked, Call* call) {
  const Time start = calls.Now();
  const Method& method = *asked;
  method.stats->started.fetch_add(1, std::memory_order_relaxed);
  const Time deadline = call->Deadline(start);
  const CancelScope scope(calls, deadline, "call");
  call->SetScope(&scope, OutOfTime(start, deadline));
  absl::StatusOr<Identity> identity = server->Admit(*call, method, deadline, start);
  // Streams that nobody has to identify himself for take no more than their own places.
  std::optional<Places::Place> open;
  if (method.scope == kNoScope && method.type != "unary") {
    Places& places = IsLocal(*call) ? server->local_open_streams_ : server->open_streams_;
    open.emplace(places);
    if (!open->held() && identity.ok()) {
      identity = places.Refusal("streams of health and reflection");
    }
  }
  Session session(*call, identity.ok() ? *identity : Identity(), deadline);
  absl::Status status = identity.status();
  if (status.ok()) status = co_await method.run(scope.context(), &session);
  call->SetScope(nullptr);
  call->SetStatus(ToGrpc(status));
  if (status.ok() && session.has_last()) {
    const bool sent = co_await call->WriteAndFinish();
    static_cast<void>(sent);
  } else {
    const bool finished = co_await call->Finish();
    static_cast<void>(finished);
  }
  method.stats->OnHandled(static_cast<int>(call->status().error_code()), calls.Now() - start,
                          session);
}

absl::StatusOr<Identity> Server::Identify(const Call& call) const {
  Identity local;
  local.scopes = kAllScopes;
  local.is_local = true;
  // Nobody but the process itself can reach a server that listens nowhere.
  if (listeners_.empty()) {
    local.name = "embedded";
    local.is_audited = false;
    return local;
  }
  if (IsLocal(call)) {
    local.name = "local";
    return local;
  }
  return options_.tokens->Identify(call.Metadata("authorization"));
}

absl::StatusOr<Identity> Server::Admit(const Call& call, const Method& method, Time deadline,
                                       Time now) {
  absl::StatusOr<Identity> identity = Identity();
  if (method.scope != kNoScope) identity = Identify(call);
  if (!identity.ok()) return identity;
  if ((identity->scopes & method.scope) != method.scope) {
    return WithReason(Error(absl::StatusCode::kPermissionDenied,
                            "'" + identity->name + "' may not call " + method.name),
                      v1::ERROR_REASON_PERMISSION_DENIED);
  }
  if (deadline <= Later(now, kDeadlineRounding)) {
    late_.fetch_add(1, std::memory_order_relaxed);
    return WithReason(
        Error(absl::StatusCode::kDeadlineExceeded, "the call's deadline had passed when it came"),
        v1::ERROR_REASON_DEADLINE_PASSED);
  }
  if (draining_ && !method.while_draining) {
    return WithReason(Error(absl::StatusCode::kUnavailable, "the server is stopping"),
                      v1::ERROR_REASON_DRAINING);
  }
  const int64_t max_calls = max_calls_.load(std::memory_order_relaxed);
  if (calls_.load(std::memory_order_relaxed) > max_calls) {
    rejected_.fetch_add(1, std::memory_order_relaxed);
    return WithRetry(
        WithReason(Error(absl::StatusCode::kResourceExhausted,
                         "the limit of " + std::to_string(max_calls) + " calls at once is reached"),
                   v1::ERROR_REASON_TOO_MANY_CALLS),
        kRetryAfter);
  }
  return identity;
}

}  // namespace nursery::rpc
