// The methods of JobService that wait.
#include <algorithm>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/audit.h"
#include "server/rpc/errors.h"
#include "server/rpc/event_feed.h"
#include "server/rpc/job_service.h"
#include "server/rpc/jobs_feed.h"
#include "server/rpc/names.h"
#include "server/rpc/output_feed.h"

namespace nursery::rpc {
namespace {

constexpr std::chrono::seconds kHeartbeat{5};

// What an attached job leaves of its call's deadline, so that its result can be delivered.
Duration ReserveOf(Duration remaining) {
  return std::clamp<Duration>(remaining / 20, std::chrono::milliseconds(50),
                              std::chrono::seconds(1));
}

Time AttachedDeadline(Time call, Time now) {
  return call == kNever ? kNever : call - ReserveOf(call - now);
}

absl::Status CheckReadOutput(const v1::ReadOutputRequest& request) {
  if (request.recursive()) return NotInThisVersion("recursive");
  if (request.attempt() != 0) return NotInThisVersion("attempt");
  if (request.has_tail_lines()) return NotInThisVersion("tail_lines");
  if (request.offset() < 0) return InvalidField("offset", "must not be negative");
  if (request.tail_bytes() < 0) return InvalidField("tail_bytes", "must not be negative");
  if (request.has_offset() && request.streams_size() != 1) {
    return InvalidField("offset", "is a place in one stream: name it in streams");
  }
  return absl::OkStatus();
}

bool Wants(const v1::ReadOutputRequest& request, v1::OutputStream stream) {
  const auto& streams = request.streams();
  return streams.empty() || std::find_if(streams.begin(), streams.end(), [stream](int each) {
                              return each == stream || each == v1::OUTPUT_STREAM_UNSPECIFIED;
                            }) != streams.end();
}

// Of a call whose job ended as `described`.
absl::Status StatusOf(const v1::Job& described, Time call_deadline) {
  const bool by_call =
      call_deadline != kNever && described.deadline_source() == "the caller's deadline";
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

// Sends events until the job has ended or the client has gone.
Async<absl::Status> SendEvents(Context context, Session* session, EventFeed* feed,
                               v1::RunJobResponse* next) {
  for (;;) {
    EventFeed::Batch batch = co_await feed->Next(context, kHeartbeat);
    for (v1::Event& event : batch.events) *next->add_events() = std::move(event);
    if (batch.ended || context.cancelled()) co_return absl::OkStatus();
    const bool sent = co_await session->Write(*next);
    next->Clear();
    if (!sent) co_return absl::OkStatus();
  }
}

Async<absl::Status> RunAndSend(Group& group, engine::JobTable* table,
                               std::shared_ptr<engine::Job> job, Session* session, EventFeed* feed,
                               v1::RunJobResponse* next, Time deadline) {
  const CancelScope bounded(group.context(), deadline, "call deadline");
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
  absl::Status sent = co_await SendEvents(group.context(), session, feed, next);
  // The scope above is the job's context: it stays until the job has ended.
  const CancelScope shield = CancelScope::Shielded(group.context(), Duration::max(), "");
  const Context until = shield.context();
  for (bool ended = job->done(); !ended;) {
    EventFeed::Batch rest = co_await feed->Next(until, kHeartbeat);
    ended = rest.ended;
  }
  co_return sent;
}

}  // namespace

Async<absl::Status> JobService::RunJob(Context context, JobService* service, Session* session,
                                       v1::RunJobRequest request) {
  if (request.durability() == v1::DURABILITY_DURABLE) {
    co_return InvalidField("durability", "a run lives in its call; submit and watch instead");
  }
  if (request.output() == v1::OUTPUT_MODE_ALL) co_return NotInThisVersion("output ALL");
  absl::StatusOr<engine::Submission> submission =
      service->Prepare(*session, request.job_spec(), request.request_id());
  // What was compiled from it is kept, and a million items need not be there twice.
  request.clear_job_spec();
  if (!submission.ok()) co_return submission.status();
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
  Audit(clock.WallNow(), session->identity(), "RunJob", job->id(), job->spec().name);
  EventFeed feed(job, 0, "", request.detail());
  v1::RunJobResponse next;
  next.set_job("jobs/" + job->id());
  const Time deadline = AttachedDeadline(session->deadline(), context.Now());
  if (const Time binding = std::min(deadline, job->deadline()); binding != kNever) {
    *next.mutable_deadline() = engine::ToProto(ToWall(clock, binding));
  }
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult ran = co_await WithGroup(context, collect, RunAndSend, &service->table_, job, session,
                                       &feed, &next, deadline);
  if (!ran.status.ok() && !context.cancelled()) co_return ran.status;
  for (EventFeed::Batch rest = feed.Take(); !rest.events.empty(); rest = feed.Take()) {
    for (v1::Event& event : rest.events) *next.add_events() = std::move(event);
  }
  *next.mutable_result() = job->Describe();
  absl::Status status = StatusOf(next.result(), session->deadline());
  if (status.ok()) {
    session->SetLast(next);
    co_return status;
  }
  const bool sent = co_await session->Write(next);
  static_cast<void>(sent);
  co_return status;
}

Async<absl::Status> JobService::WatchJob(Context context, JobService* service, Session* session,
                                         v1::WatchJobRequest request) {
  absl::StatusOr<JobPtr> job = service->Find(request.name());
  if (!job.ok()) co_return job.status();
  EventFeed feed(*job, request.after_seq(), request.path(), request.detail());
  for (;;) {
    EventFeed::Batch batch = co_await feed.Next(context, kHeartbeat);
    v1::WatchJobResponse response;
    if (batch.gap) {
      response.mutable_snapshot()->set_as_of_seq(batch.events.empty() ? feed.last_seq()
                                                                      : batch.events[0].seq() - 1);
      *response.mutable_snapshot()->mutable_job() = (*job)->Describe();
    }
    for (v1::Event& event : batch.events) *response.add_events() = std::move(event);
    if (batch.ended) {
      session->SetLast(response);
      co_return absl::OkStatus();
    }
    bool sent = !context.cancelled();
    if (sent) sent = co_await session->Write(response);
    if (sent) continue;
    if (request.cancel_on_disconnect()) {
      engine::CancelRequest cancel;
      cancel.reason = "the watcher has gone";
      cancel.actor = session->identity().name;
      (*job)->Cancel(cancel).IgnoreError();
    }
    co_return context.status();
  }
}

Async<absl::Status> JobService::WatchJobs(Context context, JobService* service, Session* session,
                                          v1::WatchJobsRequest request) {
  absl::StatusOr<Filter> filter = Filter::Parse(request.filter());
  if (!filter.ok()) co_return filter.status();
  JobsFeed feed(service->table_, *std::move(filter));
  // The first message may be empty: from here on nothing is missed.
  for (bool is_first = true; !context.cancelled(); is_first = false) {
    v1::WatchJobsResponse response;
    const bool some = feed.Take(&response);
    if (!some && !is_first) {
      const Time until = Later(context.Now(), kHeartbeat);
      co_await feed.Wait(context, kHeartbeat);
      if (context.Now() < until) continue;
    }
    const bool sent = co_await session->Write(response);
    if (!sent) break;
  }
  co_return context.status();
}

Async<absl::StatusOr<v1::Job>> JobService::WaitJob(Context context, JobService* service,
                                                   v1::WaitJobRequest request) {
  absl::StatusOr<JobPtr> job = service->Find(request.name());
  if (!job.ok()) co_return job.status();
  const Time now = context.Now();
  Time until = AttachedDeadline(context.deadline(), now);
  if (request.has_timeout()) {
    until = std::min(until, Later(now, engine::FromProto(request.timeout())));
  }
  const CancelScope bounded(context, until, "wait");
  const engine::BellReceiver bell = (*job)->Watch();
  const auto waited_for = [&] {
    const engine::NodeState state = (*job)->state();
    return engine::IsTerminal(state) ||
           (request.until() == v1::WAIT_UNTIL_STARTED && state != engine::NodeState::kPending);
  };
  while (!waited_for()) {
    absl::StatusOr<engine::Tick> rung = co_await bell.Receive(bounded.context());
    if (!rung.ok()) break;
  }
  co_return (*job)->Describe();
}

Async<absl::StatusOr<v1::CancelReceipt>> JobService::CancelJob(Context context, JobService* service,
                                                               Session* session,
                                                               v1::CancelJobRequest request) {
  absl::StatusOr<JobPtr> job = service->Find(request.name());
  if (!job.ok()) co_return job.status();
  if (request.has_grace() && engine::FromProto(request.grace()) < Duration::zero()) {
    co_return InvalidField("grace", "must not be negative");
  }
  const engine::BellReceiver bell = (*job)->Watch();
  engine::CancelRequest cancel;
  cancel.path = request.path();
  cancel.reason = request.reason();
  cancel.actor = session->identity().name;
  cancel.kill = request.mode() == v1::CANCEL_MODE_KILL;
  if (request.has_grace()) cancel.grace = engine::FromProto(request.grace());
  if (request.counts_as() == v1::COUNTS_AS_SKIPPED) cancel.counts_as = engine::CountsAs::kSkipped;
  const std::string what = cancel.path.empty() ? cancel.reason : cancel.path + ": " + cancel.reason;
  Audit(service->table_.engine().clock().WallNow(), session->identity(), "CancelJob", (*job)->id(),
        what);
  absl::StatusOr<v1::CancelReceipt> receipt = (*job)->Cancel(cancel);
  if (absl::IsNotFound(receipt.status())) {
    co_return WithReason(receipt.status(), v1::ERROR_REASON_NODE_NOT_FOUND);
  }
  if (!receipt.ok() || !request.wait() || receipt->already_ended()) co_return receipt;
  const CancelScope bounded(context, AttachedDeadline(context.deadline(), context.Now()), "wait");
  while (!receipt->complete()) {
    absl::StatusOr<engine::Tick> rung = co_await bell.Receive(bounded.context());
    receipt = (*job)->LastCancel();
    if (!rung.ok()) break;
  }
  co_return receipt;
}

Async<absl::Status> JobService::ReadOutput(Context context, JobService* service, Session* session,
                                           v1::ReadOutputRequest request) {
  absl::StatusOr<NodeName> name = ParseNodeName(request.name(), "name");
  if (!name.ok()) co_return name.status();
  absl::Status checked = CheckReadOutput(request);
  if (!checked.ok()) co_return checked;
  absl::StatusOr<JobPtr> job = service->Find("jobs/" + name->job);
  if (!job.ok()) co_return job.status();
  OutputFeed feed(*job, name->path, Wants(request, v1::OUTPUT_STREAM_STDOUT),
                  Wants(request, v1::OUTPUT_STREAM_STDERR));
  if (request.has_offset()) feed.StartAt(request.offset());
  if (request.has_tail_bytes()) feed.StartBeforeEnd(request.tail_bytes());
  while (!context.cancelled()) {
    const bool ended = feed.ended();
    v1::ReadOutputResponse response;
    const bool some = feed.Take(&response);
    if (!some && (ended || !request.follow())) break;
    if (!some) {
      const Time until = Later(context.Now(), kHeartbeat);
      co_await feed.Wait(context, kHeartbeat);
      // Nothing for so long: an empty message says that the server is alive.
      if (context.Now() < until) continue;
    }
    const bool sent = co_await session->Write(response);
    if (!sent) co_return context.status();
  }
  if (context.cancelled() || feed.started()) co_return context.status();
  co_return WithReason(Error(absl::StatusCode::kFailedPrecondition,
                             "no attempt of '" + name->path + "' has written an output"),
                       v1::ERROR_REASON_WRONG_STATE);
}

}  // namespace nursery::rpc
