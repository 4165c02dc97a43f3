#include "server/rpc/event_feed.h"

#include "nursery/core/context.h"
#include "server/rpc/describe_node.h"

namespace nursery::rpc {
namespace {

// One message: far below the limit of gRPC, and little to hold for a slow client.
constexpr size_t kMaxEvents = 1000;

// The node that an event is about; null: the job.
const std::string* PathOf(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kNodeStarted:
      return &event.node_started().path();
    case v1::Event::kAttemptStarted:
      return &event.attempt_started().path();
    case v1::Event::kAttemptEnded:
      return &event.attempt_ended().path();
    case v1::Event::kNodeEnding:
      return &event.node_ending().path();
    case v1::Event::kNodeEnded:
      return &event.node_ended().path();
    case v1::Event::kSubtreeClosed:
      return &event.subtree_closed().path();
    case v1::Event::kItemsEnded:
      return &event.items_ended().path();
    case v1::Event::kMapProgress:
      return &event.map_progress().path();
    case v1::Event::kFinallyStarted:
      return &event.finally_started().path();
    case v1::Event::kFinallyEnded:
      return &event.finally_ended().path();
    case v1::Event::kRetryScheduled:
      return &event.retry_scheduled().path();
    default:
      return nullptr;
  }
}

}  // namespace

EventFeed::EventFeed(std::shared_ptr<engine::Job> job, int64_t after, std::string path,
                     v1::EventDetail detail)
    : job_(std::move(job)),
      bell_(MakeChannel<engine::Tick>(1)),
      path_(std::move(path)),
      detail_(detail),
      after_(after) {
  job_->Watch(bell_.first);
}

bool EventFeed::Wanted(const v1::Event& event) const {
  const std::string* path = PathOf(event);
  if (path == nullptr) return true;
  const bool is_job = path->empty() && path_.empty();
  if (detail_ == v1::EVENT_DETAIL_JOB && !is_job) return false;
  return engine::IsAtOrBelow(*path, path_);
}

bool EventFeed::behind() const {
  return job_->last_seq() > after_ + static_cast<int64_t>(kMaxEvents);
}

EventFeed::Batch EventFeed::Take() {
  Batch batch;
  bool more = true;
  // Nobody rings for what is there already: what nobody wants is passed over at once.
  while (more && batch.events.empty() && !ended_) {
    // Asked first: then an empty log says that there will be nothing.
    const bool closed = job_->closed();
    absl::StatusOr<engine::EventBatch> read = job_->Events(after_, kMaxEvents);
    more = read.ok() && !read->events.empty();
    ended_ = !read.ok() || (closed && !more);
    if (!more) break;
    batch.gap |= read->oldest_seq > after_ + 1;
    for (v1::Event& event : read->events) {
      after_ = event.seq();
      // What ends the job is its last event.
      ended_ |= event.has_job_ended();
      if (Wanted(event)) batch.events.push_back(std::move(event));
    }
  }
  return batch;
}

Async<void> EventFeed::Wait(Context context, Duration patience) {
  const CancelScope bounded(context, Later(context.Now(), patience), "heartbeat");
  absl::StatusOr<engine::Tick> rung = co_await bell_.second.Receive(bounded.context());
  static_cast<void>(rung);
}

}  // namespace nursery::rpc
