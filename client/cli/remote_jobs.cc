// submit, ls, show, cancel, explain and drain.
#include <cstdio>
#include <limits>

#include "client/cli/json.h"
#include "client/cli/load.h"
#include "client/cli/remote.h"
#include "client/cli/render.h"
#include "client/cli/text.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/spec/load.h"
#include "server/spec/scalar.h"

namespace nursery::cli {
namespace {

std::string AgeOf(const v1::Job& job) {
  const Duration age = Clock::Steady().WallNow() - engine::FromProto(job.create_time());
  return FormatDuration(std::max(age, Duration::zero())) + " ago";
}

void PrintLine(const v1::Job& job, bool json) {
  if (json) {
    std::puts(JobJson(job).c_str());
    return;
  }
  std::printf("%s  %s  %s  %s\n", job.id().c_str(),
              PadRight(std::string(engine::ShortName(job.state())), 9).c_str(),
              PadLeft(AgeOf(job), 12).c_str(), Printable(job.display_name()).c_str());
}

}  // namespace

int Submit(const SubmitOptions& options) {
  absl::StatusOr<spec::LoadedJob> loaded =
      LoadFile(options.file, options.parameters, spec::CompileOptions());
  if (!loaded.ok()) return ComplainOf(loaded.status());
  if (loaded->job == nullptr) {
    PrintViolations(options.file, *loaded);
    return kUsage;
  }
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  v1::SubmitJobRequest request;
  *request.mutable_job_spec() = *loaded->spec;
  request.set_durability(v1::DURABILITY_EPHEMERAL);
  absl::StatusOr<v1::Job> job = (*connection)->SubmitJob(request);
  if (!job.ok()) return ComplainOf(job.status());
  WarnOfLimits(*job);
  std::puts(options.output.json ? JobJson(*job).c_str() : job->id().c_str());
  return kSucceeded;
}

int List(const ListOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  v1::ListJobsRequest request;
  for (int left = options.count; left > 0;) {
    request.set_page_size(left);
    absl::StatusOr<v1::ListJobsResponse> response = (*connection)->ListJobs(request);
    if (!response.ok()) return ComplainOf(response.status());
    for (const v1::Job& job : response->jobs()) PrintLine(job, options.output.json);
    left -= response->jobs_size();
    request.set_page_token(response->next_page_token());
    if (request.page_token().empty()) break;
  }
  return kSucceeded;
}

int Show(const JobOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::Job> job = FindJob(**connection, options.job);
  if (!job.ok()) return ComplainOf(job.status());
  if (options.output.json) {
    std::puts(JobJson(*job).c_str());
    return kSucceeded;
  }
  absl::StatusOr<std::vector<engine::NodeView>> nodes =
      ListNodes(**connection, *job, "", std::numeric_limits<size_t>::max(), client::CallOptions());
  if (!nodes.ok()) return ComplainOf(nodes.status());
  for (const std::string& line : RenderTree(*nodes, *job, RenderOptions())) {
    std::puts(line.c_str());
  }
  std::fputs((RenderErrors(*job) + RenderLeft(*job)).c_str(), stdout);
  if (job->has_last_cancel()) {
    std::fputs(RenderReceipt(job->last_cancel(), job->display_name()).c_str(), stdout);
  }
  return kSucceeded;
}

int Cancel(const CancelOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::Job> job = FindJob(**connection, options.job);
  if (!job.ok()) return ComplainOf(job.status());
  v1::CancelJobRequest request;
  request.set_name(job->name());
  request.set_path(options.path);
  request.set_reason(options.reason);
  request.set_wait(options.wait);
  if (options.kill) request.set_mode(v1::CANCEL_MODE_KILL);
  if (!options.grace.empty()) {
    absl::StatusOr<std::chrono::nanoseconds> grace = spec::ParseDuration(options.grace);
    if (!grace.ok()) return ComplainOf(Annotate(grace.status(), "--grace"));
    *request.mutable_grace() = engine::ToProto(*grace);
  }
  absl::StatusOr<v1::CancelReceipt> receipt = (*connection)->CancelJob(request);
  if (!receipt.ok()) return ComplainOf(receipt.status());
  if (options.output.json) {
    std::puts(ReceiptJson(*receipt).c_str());
  } else {
    std::fputs(RenderReceipt(*receipt, job->display_name()).c_str(), stdout);
  }
  return options.wait && !receipt->complete() ? kFailed : kSucceeded;
}

int Explain(const JobOptions& options) {
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::Job> job = FindJob(**connection, options.job);
  if (!job.ok()) return ComplainOf(job.status());
  v1::ExplainNodeRequest request;
  request.set_name(job->name() + (options.path.empty() ? "" : "/nodes/" + options.path));
  absl::StatusOr<v1::Explanation> explanation = (*connection)->ExplainNode(request);
  if (!explanation.ok()) return ComplainOf(explanation.status());
  std::puts(Printable(explanation->text()).c_str());
  if (explanation->has_deadline()) {
    const Duration left = engine::FromProto(explanation->deadline()) - Clock::Steady().WallNow();
    std::printf("  deadline  in %s (%s)\n", FormatDuration(left).c_str(),
                Printable(explanation->deadline_source()).c_str());
  }
  return kSucceeded;
}

int Drain(const DrainOptions& options) {
  v1::DrainServerRequest request;
  if (!options.timeout.empty()) {
    absl::StatusOr<std::chrono::nanoseconds> bound = spec::ParseDuration(options.timeout);
    if (!bound.ok()) return ComplainOf(Annotate(bound.status(), "--timeout"));
    *request.mutable_timeout() = engine::ToProto(*bound);
  }
  auto connection = Connect(options.server);
  if (!connection.ok()) return ComplainOf(connection.status());
  absl::StatusOr<v1::DrainServerResponse> response = (*connection)->DrainServer(request);
  if (!response.ok()) return ComplainOf(response.status());
  std::printf("draining: %s cancelled\n", Counted(response->cancelled_jobs(), "job").c_str());
  return kSucceeded;
}

}  // namespace nursery::cli
