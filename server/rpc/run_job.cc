// RunJob: a job that lives in its call.
#include <algorithm>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/attached.h"
#include "server/rpc/audit.h"
#include "server/rpc/errors.h"
#include "server/rpc/job_service.h"
#include "server/rpc/run_feed.h"
#include "server/rpc/send_all.h"

namespace nursery::rpc {
namespace {

// Of a call, whose job had until `deadline` for its sake, and ended as `described`. lost: the call
// ended before its job.
absl::Status StatusOf(const v1::Job& described, const Clock& clock, Time deadline, bool lost) {
  // A deadline of its own that is nearer is the job's result, and no fault of the call. No timer
  // fires early, but wall time may be set meanwhile.
  constexpr std::chrono::milliseconds kRounding{5};
  const Time decided = FromWall(clock, engine::FromProto(described.cause().time()));
  const bool by_call = deadline != kNever &&
                       described.deadline_source() == "the caller's deadline" &&
                       (lost || decided + kRounding >= deadline);
  switch (described.state()) {
    case v1::NODE_STATE_DEADLINE_EXCEEDED:
      if (!by_call) return absl::OkStatus();
      return WithReason(Error(absl::StatusCode::kDeadlineExceeded, described.cause().reason()),
                        v1::ERROR_REASON_DEADLINE_PASSED);
    case v1::NODE_STATE_CANCELLED:
      if (described.cause().kind() == v1::CAUSE_KIND_DRAIN) {
        return WithReason(Error(absl::StatusCode::kUnavailable, "the server is stopping"),
                          v1::ERROR_REASON_DRAINING);
      }
      return WithReason(Error(absl::StatusCode::kCancelled, described.cause().reason()),
                        v1::ERROR_REASON_CANCELLED);
    default:
      return absl::OkStatus();
  }
}

Async<absl::Status> RunAttached(Context context, engine::JobTable* table,
                                std::shared_ptr<engine::Job> job) {
  co_await job->Run(context);
  table->OnEnded(job);
  co_return absl::OkStatus();
}

Async<absl::Status> RunAndSend(Group& group, engine::JobTable* table,
                               std::shared_ptr<engine::Job> job, Session* session, RunFeed* feed,
                               v1::RunJobResponse* next, Time deadline) {
  const CancelScope bounded(group.context(), deadline, kCallDeadline);
  absl::Status running = group.TrySpawn(
      "job " + job->id(),
      [](Context, engine::JobTable* of, std::shared_ptr<engine::Job> each, Context within) {
        return RunAttached(std::move(within), of, std::move(each));
      },
      table, job, bounded.context());
  if (!running.ok()) {
    // The client has gone. The job was admitted, so it ends all the same: cancelled.
    absl::Status ended = co_await RunAttached(bounded.context(), table, job);
    co_return ended;
  }
  // A job that need not wait ends now, and one message says it all.
  co_await Yield();
  co_await SendAll(group.context(), session, feed, next);
  // The scope above is the job's context: it stays until the job has ended.
  const CancelScope shield = CancelScope::Shielded(group.context(), Duration::max(), "");
  const Context until = shield.context();
  while (!job->done()) co_await feed->Wait(until, kHeartbeat);
  co_return absl::OkStatus();
}

}  // namespace

Async<absl::Status> JobService::RunJob(Context context, JobService* service, Session* session,
                                       v1::RunJobRequest request) {
  if (request.durability() == v1::DURABILITY_DURABLE) {
    co_return InvalidField("durability", "a run lives in its call; submit and watch instead");
  }
  absl::StatusOr<engine::Submission> submission =
      service->Prepare(*session, request.job_spec(), request.request_id());
  // What was compiled from it is kept, and a million items need not be there twice.
  request.clear_job_spec();
  if (!submission.ok()) co_return submission.status();
  absl::Status slack =
      service->CheckSlack(*submission->spec, AttachedDeadline(session->deadline(), context.Now()));
  if (!slack.ok()) co_return slack;
  absl::StatusOr<engine::Admitted> admitted =
      co_await engine::JobTable::AdmitWithin(context, &service->table_, *std::move(submission),
                                             engine::FromProto(request.admission_wait()));
  if (!admitted.ok()) co_return admitted.status();
  const JobPtr job = admitted->job;
  if (!admitted->is_new) {
    co_return WithReason(
        Error(absl::StatusCode::kAlreadyExists, "this request runs as jobs/" + job->id()),
        v1::ERROR_REASON_REQUEST_ID_REUSED);
  }
  const Clock& clock = service->table_.engine().clock();
  Audit(clock.WallNow(), session->identity(), "RunJob", job->id(), job->display_name());
  RunFeed feed(job, request.detail(), request.output());
  v1::RunJobResponse next;
  next.set_job("jobs/" + job->id());
  const Time deadline = AttachedDeadline(session->deadline(), context.Now());
  if (const Time binding = std::min(deadline, job->deadline()); binding != kNever) {
    *next.mutable_deadline() = engine::ToProto(ToWall(clock, binding));
  }
  GroupOptions collect;
  collect.join = Join::Collect();
  collect.beyond_max_tasks = true;  // the limit of live jobs bounds them
  GroupResult ran = co_await WithGroup(context, collect, RunAndSend, &service->table_, job, session,
                                       &feed, &next, deadline);
  if (!ran.status.ok() && !context.cancelled()) co_return ran.status;
  *next.mutable_result() = job->Describe();
  absl::Status status = StatusOf(next.result(), clock, deadline, context.cancelled());
  if (status.ok()) {
    session->SetLast(next);
    co_return status;
  }
  const bool sent = co_await session->Write(next);
  static_cast<void>(sent);
  co_return status;
}

}  // namespace nursery::rpc
