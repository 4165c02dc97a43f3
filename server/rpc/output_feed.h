// OutputFeed: the output of one node for one reader, attempt after attempt, at the reader's pace.
// The process is never slowed: what is no longer kept when the reader comes to it is a gap.
//
// Thread safety: one task. Lifetime: shares the job.
// Suspends: Wait until there may be more, or its patience is over. Resumes on: the executor.
// Cancellation: Wait returns.
//
//   OutputFeed feed(job, "build/test", std::move(streams));
//   v1::ReadOutputResponse response;
//   while (feed.Take(&response)) ...
#ifndef NURSERY_SERVER_RPC_OUTPUT_FEED_H_
#define NURSERY_SERVER_RPC_OUTPUT_FEED_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/v1/job_service.pb.h"
#include "server/engine/job.h"

namespace nursery::rpc {

class OutputFeed {
 public:
  // Of the first attempt, from `offset` on, or from `tail` bytes before its present end.
  OutputFeed(std::shared_ptr<engine::Job> job, std::string path, bool wants_output,
             bool wants_errors, bool follow);
  void StartAt(int64_t offset) { offset_ = offset; }
  void StartBeforeEnd(int64_t tail) { tail_ = tail; }

  // Adds what has been written since, a message's share at most. False: nothing.
  bool Take(v1::ReadOutputResponse* response);
  // Some attempt has written, or could have.
  bool started() const { return attempt_ > 0; }
  // All was taken; of a node that is followed, nothing will be written any more.
  bool ended() const { return ended_; }
  Async<void> Wait(Context context, Duration patience);

 private:
  struct Cursor {
    v1::OutputStream stream;
    std::shared_ptr<const engine::Output> from;
    engine::BellReceiver bell;
    int64_t at;
  };

  bool NodeEnded() const;
  // Turns to the newest attempt. False: it is read already, or there is none.
  bool NextAttempt();
  void Follow(v1::OutputStream stream, std::shared_ptr<const engine::Output> from);
  bool TakeFrom(Cursor& cursor, v1::ReadOutputResponse* response) const;

  const std::shared_ptr<engine::Job> job_;
  const std::string path_;
  const bool wants_output_;
  const bool wants_errors_;
  const bool follow_;
  const engine::BellReceiver bell_;
  int64_t offset_ = 0;
  std::optional<int64_t> tail_;
  int attempt_ = 0;
  bool ended_ = false;
  std::vector<Cursor> cursors_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_OUTPUT_FEED_H_
