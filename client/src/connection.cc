#include "client/src/connection.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "client/src/canceller.h"
#include "google/rpc/status.pb.h"
#include "nursery/core/status.h"
#include "nursery/v1/admin_service.grpc.pb.h"
#include "nursery/v1/introspection_service.grpc.pb.h"
#include "nursery/v1/job_service.grpc.pb.h"

namespace nursery::client {
namespace {

// gRPC's codes are the canonical ones.
absl::StatusCode CodeOf(const grpc::Status& status) {
  return static_cast<absl::StatusCode>(status.error_code());
}

// An error of the server itself.
absl::Status WithDetails(const grpc::Status& status, const google::rpc::Status& details) {
  absl::Status result = Error(CodeOf(status), status.error_message());
  for (const google::protobuf::Any& detail : details.details()) {
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return result;
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

// TLS with the files of the options, or none. INVALID_ARGUMENT: what is missing beside them; the
// file's error: one that cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(
    const ConnectOptions& options) {
  if (options.tls_certificate_file.empty() != options.tls_key_file.empty()) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "a certificate and its key belong together: name both files or neither");
  }
  if (options.tls_ca_file.empty()) {
    if (options.tls_certificate_file.empty()) return grpc::InsecureChannelCredentials();
    return Error(absl::StatusCode::kInvalidArgument,
                 "a certificate is for TLS, which needs the file of the authority that signed the "
                 "server's");
  }
  const std::pair<const std::string*, std::string grpc::SslCredentialsOptions::*> files[] = {
      {&options.tls_ca_file, &grpc::SslCredentialsOptions::pem_root_certs},
      {&options.tls_certificate_file, &grpc::SslCredentialsOptions::pem_cert_chain},
      {&options.tls_key_file, &grpc::SslCredentialsOptions::pem_private_key}};
  grpc::SslCredentialsOptions tls;
  for (const auto& [file, field] : files) {
    if (file->empty()) continue;
    absl::StatusOr<std::string> text = ReadText(*file);
    if (!text.ok()) return text.status();
    tls.*field = *std::move(text);
  }
  return grpc::SslCredentials(tls);
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

  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, const CallOptions& options) const;
  template <class Stub, class Request, class Response>
  absl::Status Read(Stub& stub,
                    std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                        grpc::ClientContext*, const Request&),
                    Request request, const OnMessage<Response>& on_message,
                    const CallOptions& options) const;

  std::string address;
  std::string token;
  const std::unique_ptr<v1::JobService::Stub> jobs;
  const std::unique_ptr<v1::IntrospectionService::Stub> introspection;
  const std::unique_ptr<v1::AdminService::Stub> admin;
};

namespace {

// A call that has what its options say.
class OpenCall {
 public:
  OpenCall(const std::string& address, const std::string& token, const CallOptions& options)
      : address_(address), options_(options) {
    if (!token.empty()) context_.AddMetadata("authorization", "Bearer " + token);
    if (options.timeout) {
      const Clock& clock = Clock::Steady();
      context_.set_deadline(ToWall(clock, Later(clock.Now(), *options.timeout)));
    }
    if (options.canceller) options.canceller->state().Add(&context_);
  }
  ~OpenCall() {
    if (options_.canceller) options_.canceller->state().Remove(&context_);
  }
  OpenCall(const OpenCall&) = delete;
  OpenCall& operator=(const OpenCall&) = delete;

  grpc::ClientContext* context() { return &context_; }

  absl::Status StatusOf(const grpc::Status& status) const {
    if (status.ok()) return absl::OkStatus();
    google::rpc::Status details;
    if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
      return WithDetails(status, details);
    }
    switch (status.error_code()) {
      case grpc::StatusCode::UNAVAILABLE:
        return NoServer(address_, status.error_message());
      case grpc::StatusCode::CANCELLED:
        if (!options_.canceller || !options_.canceller->cancelled()) break;
        return Error(absl::StatusCode::kCancelled, "the caller has cancelled the call");
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        if (!options_.timeout) break;
        return Error(absl::StatusCode::kDeadlineExceeded,
                     "the call has not ended within " + FormatDuration(*options_.timeout));
      default:
        break;
    }
    return Error(CodeOf(status), status.error_message());
  }

 private:
  const std::string& address_;
  const CallOptions& options_;
  grpc::ClientContext context_;
};

}  // namespace

template <class Stub, class Request, class Response>
absl::StatusOr<Response> Connection::Impl::Call(
    Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request, const CallOptions& options) const {
  OpenCall call(address, token, options);
  Response response;
  absl::Status status = call.StatusOf((stub.*method)(call.context(), request, &response));
  if (!status.ok()) return status;
  return response;
}

template <class Stub, class Request, class Response>
absl::Status Connection::Impl::Read(Stub& stub,
                                    std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                                        grpc::ClientContext*, const Request&),
                                    Request request, const OnMessage<Response>& on_message,
                                    const CallOptions& options) const {
  OpenCall call(address, token, options);
  const auto reader = (stub.*method)(call.context(), request);
  // It has been sent; a job's million items need not stay for as long as the job runs.
  request = Request();
  for (Response message; reader->Read(&message); message.Clear()) on_message(message);
  return call.StatusOf(reader->Finish());
}

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;

std::unique_ptr<Connection> Connection::Over(std::shared_ptr<grpc::Channel> channel,
                                             std::string address) {
  auto impl = std::make_unique<Impl>(std::move(channel));
  impl->address = std::move(address);
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectOptions& options) {
  if (options.address.empty()) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "address is empty; say unix:PATH or HOST:PORT");
  }
  constexpr std::string_view kUnix = "unix:";
  const bool is_unix = options.address.starts_with(kUnix);
  const bool wants_tls = !options.tls_ca_file.empty() || !options.tls_certificate_file.empty() ||
                         !options.tls_key_file.empty();
  if (is_unix && wants_tls) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "TLS is for HOST:PORT, and " + options.address + " is a socket of this host");
  }
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials = CredentialsOf(options);
  if (!credentials.ok()) return credentials.status();
  if (is_unix && access(options.address.c_str() + kUnix.size(), F_OK) != 0) {
    return NoServer(options.address.substr(kUnix.size()), "no such socket");
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(options.address, *credentials, arguments);
  auto impl = std::make_unique<Impl>(channel);
  impl->address = options.address;
  if (!is_unix && !options.token_file.empty()) {
    absl::StatusOr<std::string> token = ReadToken(options.token_file);
    if (!token.ok()) return token.status();
    impl->token = *std::move(token);
  }
  if (!channel->WaitForConnected(
          ToWall(Clock::Steady(), Later(Clock::Steady().Now(), options.timeout)))) {
    return NoServer(options.address, "nobody answers");
  }
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

absl::StatusOr<v1::Job> Connection::SubmitJob(const v1::SubmitJobRequest& request,
                                              const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::SubmitJob, request, call);
}
absl::StatusOr<v1::Job> Connection::GetJob(const v1::GetJobRequest& request,
                                           const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::GetJob, request, call);
}
absl::StatusOr<v1::Job> Connection::WaitJob(const v1::WaitJobRequest& request,
                                            const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::WaitJob, request, call);
}
absl::StatusOr<v1::ListJobsResponse> Connection::ListJobs(const v1::ListJobsRequest& request,
                                                          const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::ListJobs, request, call);
}
absl::StatusOr<v1::Node> Connection::GetNode(const v1::GetNodeRequest& request,
                                             const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::GetNode, request, call);
}
absl::StatusOr<v1::ListNodesResponse> Connection::ListNodes(const v1::ListNodesRequest& request,
                                                            const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::ListNodes, request, call);
}
absl::StatusOr<v1::CancelReceipt> Connection::CancelJob(const v1::CancelJobRequest& request,
                                                        const CallOptions& call) {
  return impl_->Call(*impl_->jobs, &v1::JobService::Stub::CancelJob, request, call);
}
absl::StatusOr<v1::Explanation> Connection::ExplainNode(const v1::ExplainNodeRequest& request,
                                                        const CallOptions& call) {
  return impl_->Call(*impl_->introspection, &v1::IntrospectionService::Stub::ExplainNode, request,
                     call);
}
absl::StatusOr<v1::ServerInfo> Connection::GetServerInfo(const v1::GetServerInfoRequest& request,
                                                         const CallOptions& call) {
  return impl_->Call(*impl_->introspection, &v1::IntrospectionService::Stub::GetServerInfo, request,
                     call);
}
absl::StatusOr<v1::DrainServerResponse> Connection::DrainServer(
    const v1::DrainServerRequest& request, const CallOptions& call) {
  return impl_->Call(*impl_->admin, &v1::AdminService::Stub::DrainServer, request, call);
}

absl::Status Connection::RunJob(v1::RunJobRequest request,
                                const OnMessage<v1::RunJobResponse>& on_message,
                                const CallOptions& call) {
  return impl_->Read(*impl_->jobs, &v1::JobService::Stub::RunJob, std::move(request), on_message,
                     call);
}
absl::Status Connection::WatchJob(const v1::WatchJobRequest& request,
                                  const OnMessage<v1::WatchJobResponse>& on_message,
                                  const CallOptions& call) {
  return impl_->Read(*impl_->jobs, &v1::JobService::Stub::WatchJob, request, on_message, call);
}
absl::Status Connection::ReadOutput(const v1::ReadOutputRequest& request,
                                    const OnMessage<v1::ReadOutputResponse>& on_message,
                                    const CallOptions& call) {
  return impl_->Read(*impl_->jobs, &v1::JobService::Stub::ReadOutput, request, on_message, call);
}
absl::Status Connection::DumpTasks(const v1::DumpTasksRequest& request,
                                   const OnMessage<v1::DumpTasksResponse>& on_message,
                                   const CallOptions& call) {
  return impl_->Read(*impl_->introspection, &v1::IntrospectionService::Stub::DumpTasks, request,
                     on_message, call);
}

}  // namespace nursery::client
