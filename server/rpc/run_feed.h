// RunFeed: what a run tells its client: events, and output as far as it is wanted.
//
// Thread safety: one task. Lifetime: made before the job runs, shares it.
// Suspends: Wait until there may be more, or its patience is over. Resumes on: the executor.
// Cancellation: Wait returns.
//
//   RunFeed feed(job, v1::EVENT_DETAIL_NODES, v1::OUTPUT_MODE_FAILED);
//   v1::RunJobResponse response;
//   while (!feed.ended()) feed.Take(&response);
#ifndef NURSERY_SERVER_RPC_RUN_FEED_H_
#define NURSERY_SERVER_RPC_RUN_FEED_H_

#include <memory>

#include "nursery/core/async.h"
#include "nursery/v1/job_service.pb.h"
#include "server/rpc/event_feed.h"

namespace nursery::rpc {

class RunFeed {
 public:
  RunFeed(const std::shared_ptr<engine::Job>& job, v1::EventDetail detail, v1::OutputMode output);
  ~RunFeed();
  RunFeed(const RunFeed&) = delete;
  RunFeed& operator=(const RunFeed&) = delete;

  bool is_long() const { return events_.behind(); }
  // Adds a message's share at most of what has come. False: nothing has.
  bool Take(v1::RunJobResponse* response);
  // The job has ended and all of it was taken.
  bool ended() const { return events_.ended() && read_all_; }
  Async<void> Wait(Context context, Duration patience) {
    return events_.Wait(std::move(context), patience);
  }

 private:
  bool TakeOutput(v1::RunJobResponse* response);

  EventFeed events_;
  const std::shared_ptr<engine::OutputTap> tap_;  // null: no output is wanted
  bool read_all_ = false;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_RUN_FEED_H_
