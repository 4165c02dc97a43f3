// EventFeed: the events of a job as a call sends them: everything that is ready at once, filtered,
// and a snapshot where events are gone.
//
// Thread safety: one task.
// Suspends: Next until there are events, the job has ended, or `patience` has passed.
// Resumes on: the executor. Cancellation: returns an empty batch; the context says why.
#ifndef NURSERY_SERVER_RPC_EVENT_FEED_H_
#define NURSERY_SERVER_RPC_EVENT_FEED_H_

#include <memory>
#include <string>
#include <vector>

#include "nursery/core/async.h"
#include "nursery/v1/event.pb.h"
#include "nursery/v1/job_service.pb.h"
#include "server/engine/job.h"

namespace nursery::rpc {

class EventFeed {
 public:
  struct Batch {
    Batch() = default;
    std::vector<v1::Event> events;
    bool gap = false;    // events before these are gone
    bool ended = false;  // nothing follows
  };

  // Events with a seq above `after`, of nodes at or below `path`.
  EventFeed(std::shared_ptr<engine::Job> job, int64_t after, std::string path,
            v1::EventDetail detail);

  Async<Batch> Next(Context context, Duration patience);
  // What is there now, without waiting.
  Batch Take();
  int64_t last_seq() const { return after_; }

 private:
  bool Wanted(const v1::Event& event) const;

  const std::shared_ptr<engine::Job> job_;
  const engine::BellReceiver bell_;
  const std::string path_;
  const v1::EventDetail detail_;
  int64_t after_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_EVENT_FEED_H_
