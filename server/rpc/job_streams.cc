// The methods of JobService that wait.
#include <algorithm>

#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/attached.h"
#include "server/rpc/audit.h"
#include "server/rpc/describe_node.h"
#include "server/rpc/errors.h"
#include "server/rpc/event_feed.h"
#include "server/rpc/job_service.h"
#include "server/rpc/jobs_feed.h"
#include "server/rpc/names.h"
#include "server/rpc/output_feed.h"
#include "server/rpc/send_all.h"

namespace nursery::rpc {
namespace {

// From when the last one was to be gone to its proof.
constexpr std::chrono::milliseconds kVerifying{250};

absl::Status CheckReadOutput(const v1::ReadOutputRequest& request) {
  if (request.attempt() < 0) return InvalidField("attempt", "must not be negative");
  if (request.offset() < 0) return InvalidField("offset", "must not be negative");
  if (request.tail_bytes() < 0) return InvalidField("tail_bytes", "must not be negative");
  if (request.tail_lines() < 0) return InvalidField("tail_lines", "must not be negative");
  if (request.has_offset() && (request.streams_size() != 1 || request.recursive())) {
    return InvalidField("offset", "is a place in one stream of one node: name it in streams");
  }
  return absl::OkStatus();
}

bool Wants(const v1::ReadOutputRequest& request, v1::OutputStream stream) {
  const auto& streams = request.streams();
  return streams.empty() || std::find_if(streams.begin(), streams.end(), [stream](int each) {
                              return each == stream || each == v1::OUTPUT_STREAM_UNSPECIFIED;
                            }) != streams.end();
}

WantedOutput WantedBy(const v1::ReadOutputRequest& request, const std::string& path) {
  WantedOutput wanted;
  wanted.path = path;
  wanted.below = request.recursive();
  wanted.attempt = request.attempt();
  wanted.output = Wants(request, v1::OUTPUT_STREAM_STDOUT);
  wanted.errors = Wants(request, v1::OUTPUT_STREAM_STDERR);
  wanted.follow = request.follow();
  wanted.offset = request.offset();
  if (request.has_tail_bytes()) wanted.tail_bytes = request.tail_bytes();
  if (request.has_tail_lines()) wanted.tail_lines = request.tail_lines();
  return wanted;
}

// The events of a job as WatchJob sends them.
class WatchFeed {
 public:
  static constexpr bool is_long() { return true; }

  WatchFeed(std::shared_ptr<engine::Job> job, const v1::WatchJobRequest& request)
      : job_(std::move(job)),
        events_(job_, request.after_seq(), request.path(), request.detail()) {}

  bool Take(v1::WatchJobResponse* response) {
    EventFeed::Batch batch = events_.Take();
    if (batch.gap) {
      v1::Snapshot& snapshot = *response->mutable_snapshot();
      snapshot.set_as_of_seq(batch.events.empty() ? events_.last_seq() : batch.events[0].seq() - 1);
      *snapshot.mutable_job() = job_->Describe();
    }
    for (v1::Event& event : batch.events) *response->add_events() = std::move(event);
    return response->events_size() > 0;
  }
  bool ended() const { return events_.ended(); }
  Async<void> Wait(Context context, Duration patience) {
    return events_.Wait(std::move(context), patience);
  }

 private:
  const std::shared_ptr<engine::Job> job_;
  EventFeed events_;
};

}  // namespace

Async<absl::Status> JobService::WatchJob(Context context, JobService* service, Session* session,
                                         v1::WatchJobRequest request) {
  absl::StatusOr<JobPtr> job = service->Find(request.name());
  if (!job.ok()) co_return job.status();
  const Places::Place place(service->watchers_);
  if (!place.held()) co_return service->watchers_.Refusal("watchers");
  WatchFeed feed(*job, request);
  v1::WatchJobResponse last;
  co_await SendAll(context, session, &feed, &last);
  if (feed.ended()) {
    session->SetLast(last);
    co_return absl::OkStatus();
  }
  if (request.cancel_on_disconnect()) {
    engine::CancelRequest cancel;
    cancel.reason = "the watcher has gone";
    cancel.actor = session->identity().name;
    cancel.call_lost = true;
    (*job)->Cancel(cancel).IgnoreError();
  }
  co_return context.status();
}

Async<absl::Status> JobService::WatchJobs(Context context, JobService* service, Session* session,
                                          v1::WatchJobsRequest request) {
  absl::StatusOr<Filter> filter = Filter::Parse(request.filter(), Filter::Of::kJobs);
  if (!filter.ok()) co_return filter.status();
  const Places::Place place(service->watchers_);
  if (!place.held()) co_return service->watchers_.Refusal("watchers");
  JobsFeed feed(service->table_, *std::move(filter));
  v1::WatchJobsResponse next;
  co_await SendAll(context, session, &feed, &next);
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
  absl::Status reason = CheckReason(request.reason());
  if (!reason.ok()) co_return reason;
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
  absl::StatusOr<std::shared_ptr<const engine::CancelRecord>> record = (*job)->StartCancel(cancel);
  if (absl::IsNotFound(record.status())) {
    co_return WithReason(record.status(), v1::ERROR_REASON_NODE_NOT_FOUND);
  }
  if (!record.ok()) co_return record.status();
  if (!request.wait()) co_return (*job)->Receipt(**record);
  // By then all is gone, but for what nothing can end: then the receipt says what is left.
  const Duration gone_by = (*job)->max_teardown() + cancel.grace.value_or(Duration()) + kVerifying;
  const Time until =
      std::min(AttachedDeadline(context.deadline(), context.Now()), Later(context.Now(), gone_by));
  const CancelScope bounded(context, until, "wait");
  // What an ended attempt could not reach lives on: nobody waits for that.
  const auto ended = [&] {
    const std::optional<engine::NodeState> state = (*job)->StateOf(cancel.path);
    return !state || engine::IsTerminal(*state);
  };
  while (!ended()) {
    absl::StatusOr<engine::Tick> rung = co_await bell.Receive(bounded.context());
    if (!rung.ok()) break;
  }
  co_return (*job)->Receipt(**record);
}

Async<absl::Status> JobService::ReadOutput(Context context, JobService* service, Session* session,
                                           v1::ReadOutputRequest request) {
  absl::StatusOr<NodeName> name = ParseNodeName(request.name(), "name");
  if (!name.ok()) co_return name.status();
  absl::Status checked = CheckReadOutput(request);
  if (!checked.ok()) co_return checked;
  absl::StatusOr<JobPtr> job = service->Find("jobs/" + name->job);
  if (!job.ok()) co_return job.status();
  if (!(*job)->Knows(name->path)) co_return NoNode(**job, name->path);
  OutputFeed feed(*job, WantedBy(request, name->path));
  v1::ReadOutputResponse next;
  co_await SendAll(context, session, &feed, &next);
  if (context.cancelled() || feed.started() || request.recursive()) co_return context.status();
  const std::string what =
      request.attempt() == 0 ? "no attempt" : "no attempt " + std::to_string(request.attempt());
  co_return WithReason(
      Error(absl::StatusCode::kFailedPrecondition,
            what + " of '" + name->path + "' has written an output, or it is not kept"),
      v1::ERROR_REASON_WRONG_STATE);
}

}  // namespace nursery::rpc
