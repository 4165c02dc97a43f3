#include "client/src/connection.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "nursery/core/status.h"
#include "nursery/v1/admin_service.grpc.pb.h"
#include "nursery/v1/introspection_service.grpc.pb.h"
#include "nursery/v1/job_service.grpc.pb.h"

namespace nursery::client {
namespace {

// A server that is there answers at once.
constexpr std::chrono::seconds kConnectPatience{3};

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return Error(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::StatusOr<std::string> ReadText(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return ErrnoError(errno, file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// The last word of the first line that says one: "TOKEN" or "NAME TOKEN".
absl::StatusOr<std::string> ReadToken(const std::string& file) {
  absl::StatusOr<std::string> text = ReadText(file);
  if (!text.ok()) return text;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first;
    std::string second;
    words >> first >> second;
    if (first.empty() || first.starts_with('#')) continue;
    return second.empty() ? first : second;
  }
  return Error(absl::StatusCode::kInvalidArgument, file + " holds no token");
}

absl::Status NoServer(const std::string& address, const std::string& why) {
  return Error(absl::StatusCode::kUnavailable, "no server at " + address + " (" + why + ")");
}

}  // namespace

struct Connection::Impl {
  explicit Impl(std::shared_ptr<grpc::Channel> channel)
      : jobs(v1::JobService::NewStub(channel)),
        introspection(v1::IntrospectionService::NewStub(channel)),
        admin(v1::AdminService::NewStub(channel)) {}

  void Prepare(grpc::ClientContext* context) const {
    if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
  }
  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    Prepare(&context);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return FromGrpc(status);
    return response;
  }
  template <class Response>
  absl::Status ReadAll(std::unique_ptr<grpc::ClientReader<Response>> reader,
                       const OnMessage<Response>& on_message) const {
    for (Response message; reader->Read(&message); message.Clear()) on_message(message);
    return FromGrpc(reader->Finish());
  }

  std::string token;
  const std::unique_ptr<v1::JobService::Stub> jobs;
  const std::unique_ptr<v1::IntrospectionService::Stub> introspection;
  const std::unique_ptr<v1::AdminService::Stub> admin;
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectOptions& options) {
  constexpr std::string_view kUnix = "unix:";
  const bool is_unix = options.address.starts_with(kUnix);
  if (is_unix && access(options.address.c_str() + kUnix.size(), F_OK) != 0) {
    return NoServer(options.address.substr(kUnix.size()), "no such socket");
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!is_unix && !options.tls_ca_file.empty()) {
    absl::StatusOr<std::string> authority = ReadText(options.tls_ca_file);
    if (!authority.ok()) return authority.status();
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = *authority;
    credentials = grpc::SslCredentials(tls);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(options.address, credentials, arguments);
  auto impl = std::make_unique<Impl>(channel);
  if (!is_unix && !options.token_file.empty()) {
    absl::StatusOr<std::string> token = ReadToken(options.token_file);
    if (!token.ok()) return token.status();
    impl->token = *std::move(token);
  }
  if (!channel->WaitForConnected(Clock::Steady().WallNow() + kConnectPatience)) {
    return NoServer(options.address, "nobody answers");
  }
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

absl::StatusOr<v1::Job> Connection::SubmitJob(const v1::SubmitJobRequest& request) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::SubmitJob, request);
}
absl::StatusOr<v1::Job> Connection::GetJob(const v1::GetJobRequest& request) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::GetJob, request);
}
absl::StatusOr<v1::ListJobsResponse> Connection::ListJobs(const v1::ListJobsRequest& request) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::ListJobs, request);
}
absl::StatusOr<v1::ListNodesResponse> Connection::ListNodes(const v1::ListNodesRequest& request) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::ListNodes, request);
}
absl::StatusOr<v1::CancelReceipt> Connection::CancelJob(const v1::CancelJobRequest& request) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::CancelJob, request);
}
absl::StatusOr<v1::Explanation> Connection::ExplainNode(const v1::ExplainNodeRequest& request) {
  return impl_->Call(*impl_->introspection, &v1::IntrospectionService::Stub::ExplainNode, request);
}
absl::StatusOr<v1::DrainServerResponse> Connection::DrainServer(
    const v1::DrainServerRequest& request) {
  return impl_->Call(*impl_->admin, &v1::AdminService::Stub::DrainServer, request);
}

absl::Status Connection::RunJob(const v1::RunJobRequest& request, std::optional<Duration> timeout,
                                const OnMessage<v1::RunJobResponse>& on_message) {
  grpc::ClientContext context;
  impl_->Prepare(&context);
  if (timeout) {
    context.set_deadline(Clock::Steady().WallNow() +
                         std::chrono::duration_cast<WallTime::duration>(*timeout));
  }
  return impl_->ReadAll(impl_->jobs->RunJob(&context, request), on_message);
}
absl::Status Connection::WatchJob(const v1::WatchJobRequest& request,
                                  const OnMessage<v1::WatchJobResponse>& on_message) {
  grpc::ClientContext context;
  impl_->Prepare(&context);
  return impl_->ReadAll(impl_->jobs->WatchJob(&context, request), on_message);
}
absl::Status Connection::ReadOutput(const v1::ReadOutputRequest& request,
                                    const OnMessage<v1::ReadOutputResponse>& on_message) {
  grpc::ClientContext context;
  impl_->Prepare(&context);
  return impl_->ReadAll(impl_->jobs->ReadOutput(&context, request), on_message);
}
absl::Status Connection::DumpTasks(const v1::DumpTasksRequest& request,
                                   const OnMessage<v1::DumpTasksResponse>& on_message) {
  grpc::ClientContext context;
  impl_->Prepare(&context);
  return impl_->ReadAll(impl_->introspection->DumpTasks(&context, request), on_message);
}

}  // namespace nursery::client
