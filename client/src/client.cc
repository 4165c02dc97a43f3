#include "nursery/client/client.h"

#include "client/src/connection.h"
#include "client/src/convert.h"
#include "client/src/messages.h"
#include "nursery/core/status.h"

namespace nursery::client {
namespace {

v1::EventDetail ToProto(Detail detail) {
  constexpr v1::EventDetail kValues[] = {v1::EVENT_DETAIL_JOB, v1::EVENT_DETAIL_NODES,
                                         v1::EVENT_DETAIL_ITEMS};
  return kValues[static_cast<size_t>(detail)];  // the order of the enum
}

template <class Events>
void Tell(const Events& events, const Handlers& handlers) {
  if (!handlers.on_event) return;
  for (const v1::Event& event : events) handlers.on_event(FromProto(event));
}

std::string NodeName(const std::string& job, const std::string& path) {
  return path.empty() ? job : job + "/nodes/" + path;
}

// INVALID_ARGUMENT: several places to start at, of which the message has one.
absl::StatusOr<v1::ReadOutputRequest> RequestOf(const std::string& job,
                                                const OutputOptions& options) {
  const int starts =
      (options.offset ? 1 : 0) + (options.tail_bytes ? 1 : 0) + (options.tail_lines ? 1 : 0);
  if (starts > 1) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "offset, tail_bytes and tail_lines exclude each other; set one");
  }
  v1::ReadOutputRequest request;
  request.set_name(NodeName(job, options.path));
  request.set_recursive(options.recursive);
  request.set_attempt(options.attempt);
  for (const Stream stream : options.streams) {
    request.add_streams(stream == Stream::kStderr ? v1::OUTPUT_STREAM_STDERR
                                                  : v1::OUTPUT_STREAM_STDOUT);
  }
  if (options.offset) request.set_offset(*options.offset);
  if (options.tail_bytes) request.set_tail_bytes(*options.tail_bytes);
  if (options.tail_lines) request.set_tail_lines(*options.tail_lines);
  request.set_follow(options.follow);
  return request;
}

}  // namespace

struct Client::Impl {
  std::unique_ptr<Connection> connection;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ConnectOptions& options) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(options);
  if (!connection.ok()) return connection.status();
  auto impl = std::make_unique<Impl>();
  impl->connection = *std::move(connection);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

absl::StatusOr<JobInfo> Client::Submit(const Job& job, const SubmitOptions& options,
                                       const CallOptions& call) {
  absl::StatusOr<v1::JobSpec> spec = internal::SpecOf(job);
  if (!spec.ok()) return spec.status();
  v1::SubmitJobRequest request;
  request.mutable_job_spec()->Swap(&*spec);
  request.set_request_id(options.request_id);
  *request.mutable_admission_wait() = client::ToProto(options.admission_wait);
  request.set_validate_only(options.validate_only);
  absl::StatusOr<v1::Job> submitted = impl_->connection->SubmitJob(request, call);
  if (!submitted.ok()) return submitted.status();
  return FromProto(*submitted);
}

absl::StatusOr<JobInfo> Client::Run(const Job& job, const RunOptions& options,
                                    const Handlers& handlers, const CallOptions& call) {
  absl::StatusOr<v1::JobSpec> spec = internal::SpecOf(job);
  if (!spec.ok()) return spec.status();
  v1::RunJobRequest request;
  request.mutable_job_spec()->Swap(&*spec);
  request.set_detail(ToProto(options.detail));
  request.set_output(handlers.on_output ? v1::OUTPUT_MODE_ALL : v1::OUTPUT_MODE_NONE);
  *request.mutable_admission_wait() = client::ToProto(options.admission_wait);
  std::optional<JobInfo> result;
  const auto on_message = [&](const v1::RunJobResponse& message) {
    if (!message.job().empty() && handlers.on_started) handlers.on_started(message.job());
    Tell(message.events(), handlers);
    if (handlers.on_output) {
      for (const v1::OutputChunk& chunk : message.output()) handlers.on_output(FromProto(chunk));
    }
    if (message.has_result()) result = FromProto(message.result());
  };
  absl::Status ended = impl_->connection->RunJob(std::move(request), on_message, call);
  // A stream may be torn after its last message.
  if (result) return *std::move(result);
  if (!ended.ok()) return ended;
  return Error(absl::StatusCode::kInternal, "the server has ended the run without its result");
}

absl::StatusOr<JobInfo> Client::Get(const std::string& job, const CallOptions& call) {
  v1::GetJobRequest request;
  request.set_name(job);
  request.set_view(v1::JOB_VIEW_FULL);
  absl::StatusOr<v1::Job> found = impl_->connection->GetJob(request, call);
  if (!found.ok()) return found.status();
  return FromProto(*found);
}

absl::StatusOr<JobPage> Client::List(const ListOptions& options, const CallOptions& call) {
  v1::ListJobsRequest request;
  request.set_filter(options.filter);
  request.set_order_by(options.order_by);
  request.set_page_size(options.page_size);
  request.set_page_token(options.page_token);
  absl::StatusOr<v1::ListJobsResponse> response = impl_->connection->ListJobs(request, call);
  if (!response.ok()) return response.status();
  JobPage page;
  for (const v1::Job& job : response->jobs()) page.jobs.push_back(FromProto(job));
  page.next_page_token = response->next_page_token();
  return page;
}

absl::StatusOr<JobInfo> Client::Wait(const std::string& job, const CallOptions& call) {
  v1::WaitJobRequest request;
  request.set_name(job);
  absl::StatusOr<v1::Job> found = impl_->connection->WaitJob(request, call);
  if (!found.ok()) return found.status();
  return FromProto(*found);
}

absl::StatusOr<NodeInfo> Client::GetNode(const std::string& job, const std::string& path,
                                         const CallOptions& call) {
  v1::GetNodeRequest request;
  request.set_name(NodeName(job, path));
  absl::StatusOr<v1::Node> node = impl_->connection->GetNode(request, call);
  if (!node.ok()) return node.status();
  return FromProto(*node);
}

absl::StatusOr<NodePage> Client::ListNodes(const std::string& job, const ListNodesOptions& options,
                                           const CallOptions& call) {
  v1::ListNodesRequest request;
  request.set_parent(job);
  request.set_path(options.path);
  request.set_depth(options.depth);
  request.set_filter(options.filter);
  request.set_order_by(options.order_by);
  request.set_page_size(options.page_size);
  request.set_page_token(options.page_token);
  absl::StatusOr<v1::ListNodesResponse> response = impl_->connection->ListNodes(request, call);
  if (!response.ok()) return response.status();
  NodePage page;
  for (const v1::Node& node : response->nodes()) page.nodes.push_back(FromProto(node));
  page.next_page_token = response->next_page_token();
  return page;
}

absl::StatusOr<ExplanationInfo> Client::Explain(const std::string& job, const std::string& path,
                                                const CallOptions& call) {
  v1::ExplainNodeRequest request;
  request.set_name(NodeName(job, path));
  absl::StatusOr<v1::Explanation> explanation = impl_->connection->ExplainNode(request, call);
  if (!explanation.ok()) return explanation.status();
  return FromProto(*explanation);
}

absl::Status Client::Watch(const std::string& job, const WatchOptions& options,
                           const Handlers& handlers, const CallOptions& call) {
  v1::WatchJobRequest request;
  request.set_name(job);
  request.set_after_seq(options.after_seq);
  request.set_path(options.path);
  request.set_detail(ToProto(options.detail));
  const auto on_message = [&handlers](const v1::WatchJobResponse& message) {
    if (message.has_snapshot() && handlers.on_snapshot) {
      handlers.on_snapshot(FromProto(message.snapshot().job()), message.snapshot().as_of_seq());
    }
    Tell(message.events(), handlers);
  };
  return impl_->connection->WatchJob(request, on_message, call);
}

absl::StatusOr<CancelReceipt> Client::Cancel(const std::string& job, const CancelOptions& options,
                                             const CallOptions& call) {
  v1::CancelJobRequest request;
  request.set_name(job);
  request.set_path(options.path);
  request.set_reason(options.reason);
  request.set_wait(options.wait);
  if (options.kill) request.set_mode(v1::CANCEL_MODE_KILL);
  if (options.grace) *request.mutable_grace() = client::ToProto(*options.grace);
  if (options.counts_as_skipped) request.set_counts_as(v1::COUNTS_AS_SKIPPED);
  absl::StatusOr<v1::CancelReceipt> receipt = impl_->connection->CancelJob(request, call);
  if (!receipt.ok()) return receipt.status();
  return FromProto(*receipt);
}

absl::Status Client::ReadOutput(const std::string& job, const OutputOptions& options,
                                const Handlers& handlers, const CallOptions& call) {
  const auto on_message = [&handlers](const v1::ReadOutputResponse& message) {
    if (!handlers.on_output) return;
    for (const v1::OutputChunk& chunk : message.chunks()) handlers.on_output(FromProto(chunk));
  };
  absl::StatusOr<v1::ReadOutputRequest> request = RequestOf(job, options);
  if (!request.ok()) return request.status();
  return impl_->connection->ReadOutput(*request, on_message, call);
}

absl::StatusOr<ServerInfo> Client::GetServerInfo(const CallOptions& call) {
  absl::StatusOr<v1::ServerInfo> info =
      impl_->connection->GetServerInfo(v1::GetServerInfoRequest(), call);
  if (!info.ok()) return info.status();
  return FromProto(*info);
}

}  // namespace nursery::client
