#include "server/rpc/health.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/rpc/errors.h"

namespace nursery::rpc {
namespace {

namespace health = grpc::health::v1;
namespace reflection = grpc::reflection::v1alpha;

// A watcher learns of a change within this.
constexpr std::chrono::milliseconds kWatchPeriod{500};

bool IsKnown(const Methods& methods, const std::string& service) {
  const std::vector<std::string> services = methods.Services();
  return service.empty() || std::find(services.begin(), services.end(), service) != services.end();
}

health::HealthCheckResponse::ServingStatus StatusOf(const std::function<bool()>& serving) {
  return serving() ? health::HealthCheckResponse::SERVING
                   : health::HealthCheckResponse::NOT_SERVING;
}

absl::StatusOr<health::HealthCheckResponse> Check(const Methods& methods,
                                                  const std::function<bool()>& serving,
                                                  const std::string& service) {
  if (!IsKnown(methods, service)) {
    return Error(absl::StatusCode::kNotFound, "no service '" + service + "' here");
  }
  health::HealthCheckResponse response;
  response.set_status(StatusOf(serving));
  return response;
}

Async<absl::Status> Watch(Context context, Session* session, const Methods* methods,
                          std::function<bool()> serving, std::string service) {
  int last = -1;
  for (;;) {
    health::HealthCheckResponse response;
    response.set_status(IsKnown(*methods, service) ? StatusOf(serving)
                                                   : health::HealthCheckResponse::SERVICE_UNKNOWN);
    bool sent = true;
    if (response.status() != last) sent = co_await session->Write(response);
    if (!sent) co_return context.status();
    last = response.status();
    absl::Status slept = co_await Sleep(context, kWatchPeriod);
    if (!slept.ok()) co_return slept;
  }
}

// `file` and all that it imports, each once, what is imported first.
void AddFile(const google::protobuf::FileDescriptor& file, std::set<std::string>* seen,
             reflection::FileDescriptorResponse* response) {
  if (!seen->insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, response);
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response->add_file_descriptor_proto(proto.SerializeAsString());
}

reflection::ServerReflectionResponse Answer(const Methods& methods,
                                            const reflection::ServerReflectionRequest& request) {
  const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
  reflection::ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  if (request.has_list_services()) {
    for (const std::string& service : methods.Services()) {
      response.mutable_list_services_response()->add_service()->set_name(service);
    }
    return response;
  }
  const google::protobuf::FileDescriptor* file = nullptr;
  if (request.has_file_by_filename()) file = pool.FindFileByName(request.file_by_filename());
  if (request.has_file_containing_symbol()) {
    file = pool.FindFileContainingSymbol(request.file_containing_symbol());
  }
  if (file == nullptr) {
    response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    response.mutable_error_response()->set_error_message("there is no such file or symbol");
    return response;
  }
  std::set<std::string> seen;
  AddFile(*file, &seen, response.mutable_file_descriptor_response());
  return response;
}

Async<absl::Status> Reflect(Context, Session* session, const Methods* methods) {
  for (;;) {
    reflection::ServerReflectionRequest request;
    absl::Status read = co_await session->Read(&request);
    if (absl::IsOutOfRange(read)) co_return absl::OkStatus();
    if (!read.ok()) co_return read;
    const bool sent = co_await session->Write(Answer(*methods, request));
    if (!sent) co_return absl::OkStatus();
  }
}

}  // namespace

void AddHealth(Methods& methods, std::function<bool()> serving) {
  const std::string service = "grpc.health.v1.Health";
  methods.AddUnary<health::HealthCheckRequest, health::HealthCheckResponse>(
      service, "Check", kNoScope,
      [&methods, serving](Context, Session*, health::HealthCheckRequest request) {
        return Ready(Check(methods, serving, request.service()));
      });
  methods.AddStreaming<health::HealthCheckRequest>(
      service, "Watch", kNoScope,
      [&methods, serving](Context context, Session* session, health::HealthCheckRequest request) {
        return Watch(std::move(context), session, &methods, serving, request.service());
      });
}

void AddReflection(Methods& methods) {
  methods.AddBidi("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", kNoScope,
                  [&methods](Context context, Session* session) {
                    return Reflect(std::move(context), session, &methods);
                  });
}

}  // namespace nursery::rpc
