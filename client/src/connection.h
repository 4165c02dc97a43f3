// Connection: blocking calls to a server in the contract's messages, with our statuses instead of
// gRPC's; a server's details become payloads of the status.
//
// Thread safety: any thread. Calls block: from tasks, only on a blocking thread.
//
//   absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(options);
//   absl::StatusOr<v1::Job> job = (*connection)->GetJob(request);
#ifndef NURSERY_CLIENT_SRC_CONNECTION_H_
#define NURSERY_CLIENT_SRC_CONNECTION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/client/call.h"
#include "nursery/v1/admin_service.pb.h"
#include "nursery/v1/introspection_service.pb.h"
#include "nursery/v1/job_service.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace nursery::client {

class Connection {
 public:
  // UNAVAILABLE: nobody answers there, and why; INVALID_ARGUMENT: options that do not belong
  // together; the file's error: one that cannot be read.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ConnectOptions& options);
  // Over a channel that is there already, as to a server in the same process.
  static std::unique_ptr<Connection> Over(std::shared_ptr<grpc::Channel> channel,
                                          std::string address);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  absl::StatusOr<v1::Job> SubmitJob(const v1::SubmitJobRequest& request,
                                    const CallOptions& call = {});
  absl::StatusOr<v1::Job> GetJob(const v1::GetJobRequest& request, const CallOptions& call = {});
  absl::StatusOr<v1::Job> WaitJob(const v1::WaitJobRequest& request, const CallOptions& call = {});
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request,
                                                const CallOptions& call = {});
  absl::StatusOr<v1::Node> GetNode(const v1::GetNodeRequest& request, const CallOptions& call = {});
  absl::StatusOr<v1::ListNodesResponse> ListNodes(const v1::ListNodesRequest& request,
                                                  const CallOptions& call = {});
  absl::StatusOr<v1::CancelReceipt> CancelJob(const v1::CancelJobRequest& request,
                                              const CallOptions& call = {});
  absl::StatusOr<v1::Explanation> ExplainNode(const v1::ExplainNodeRequest& request,
                                              const CallOptions& call = {});
  absl::StatusOr<v1::ServerInfo> GetServerInfo(const v1::GetServerInfoRequest& request,
                                               const CallOptions& call = {});
  absl::StatusOr<v1::DrainServerResponse> DrainServer(const v1::DrainServerRequest& request,
                                                      const CallOptions& call = {});

  // Calls `on_message` with each message; the stream's end is the status.
  template <class Response>
  using OnMessage = std::function<void(const Response& message)>;
  absl::Status RunJob(v1::RunJobRequest request, const OnMessage<v1::RunJobResponse>& on_message,
                      const CallOptions& call = {});
  absl::Status WatchJob(const v1::WatchJobRequest& request,
                        const OnMessage<v1::WatchJobResponse>& on_message,
                        const CallOptions& call = {});
  absl::Status ReadOutput(const v1::ReadOutputRequest& request,
                          const OnMessage<v1::ReadOutputResponse>& on_message,
                          const CallOptions& call = {});
  absl::Status DumpTasks(const v1::DumpTasksRequest& request,
                         const OnMessage<v1::DumpTasksResponse>& on_message,
                         const CallOptions& call = {});

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_SRC_CONNECTION_H_
