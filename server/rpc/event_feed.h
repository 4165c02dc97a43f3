// EventFeed: the events of a job as a call sends them: everything that is ready at once, filtered,
// and a snapshot where events are gone.
//
// Thread safety: one task.
// Suspends: Wait until there may be more, or its patience is over. Resumes on: the executor.
// Cancellation: Wait returns.
//
//   EventFeed feed(job, 0, "", v1::EVENT_DETAIL_NODES);
//   EventFeed::Batch batch = feed.Take();
#ifndef NURSERY_SERVER_RPC_EVENT_FEED_H_
#define NURSERY_SERVER_RPC_EVENT_FEED_H_

#include <memory>
#include <string>
#include <utility>
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
    bool gap = false;  // events before these are gone
  };

  // Events with a seq above `after`, of nodes at or below `path`.
  EventFeed(std::shared_ptr<engine::Job> job, int64_t after, std::string path,
            v1::EventDetail detail);

  // What is there now, without waiting.
  Batch Take();
  // Take has more than one message to read, of which it may pass over any number.
  bool behind() const;
  // Nothing follows what was taken.
  bool ended() const { return ended_; }
  Async<void> Wait(Context context, Duration patience);
  // Wakes whoever waits.
  const engine::BellSender& bell() const { return bell_.first; }
  int64_t last_seq() const { return after_; }

 private:
  bool Wanted(const v1::Event& event) const;

  const std::shared_ptr<engine::Job> job_;
  const std::pair<engine::BellSender, engine::BellReceiver> bell_;
  const std::string path_;
  const v1::EventDetail detail_;
  int64_t after_;
  bool ended_ = false;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_EVENT_FEED_H_
