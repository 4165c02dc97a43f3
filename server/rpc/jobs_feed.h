// JobsFeed: the jobs of a server that have changed since it was asked before. First those that are
// alive; then what comes, goes on or ends. Many changes of one job are told as one. One that has
// ceased to fit is told once more, as it is then.
//
// Thread safety: one task. Lifetime: the table outlives it.
// Suspends: Wait until something has changed, or its patience is over. Resumes on: the executor.
// Cancellation: Wait returns.
//
//   JobsFeed feed(table, *std::move(filter));
//   v1::WatchJobsResponse response;
//   while (feed.Take(&response)) ...
#ifndef NURSERY_SERVER_RPC_JOBS_FEED_H_
#define NURSERY_SERVER_RPC_JOBS_FEED_H_

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/v1/job_service.pb.h"
#include "server/engine/job_table.h"
#include "server/rpc/filter.h"

namespace nursery::rpc {

class JobsFeed {
 public:
  static constexpr bool is_long() { return true; }

  JobsFeed(engine::JobTable& table, Filter filter);

  // A message's share of what has changed. False: nothing has. The first time true all the same:
  // its message says that from here on nothing is missed.
  bool Take(v1::WatchJobsResponse* response);
  // There is always a next job.
  bool ended() const { return false; }
  Async<void> Wait(Context context, Duration patience);

 private:
  void Look();
  void Tell(const engine::Job& job, v1::WatchJobsResponse* response);

  engine::JobTable& table_;
  const Filter filter_;
  const engine::BellReceiver bell_;
  uint64_t mark_ = 0;
  bool begun_ = false;
  std::deque<std::shared_ptr<engine::Job>> changed_;  // and not told yet
  struct Told {
    int64_t seq = -1;  // of the last event told of; -1: of none yet
    bool fitted = false;
  };
  // By id, for those that were alive at the last look.
  std::unordered_map<std::string, Told> told_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_JOBS_FEED_H_
