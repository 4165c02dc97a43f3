// OutputFeed: what a node writes, or a node and all below it, for one reader, attempt after
// attempt, at the reader's pace. The process is never slowed: what is no longer kept when the
// reader comes to it is a gap.
//
// Thread safety: one task. Lifetime: shares the job.
// Suspends: Wait until there may be more, or its patience is over. Resumes on: the executor.
// Cancellation: Wait returns.
//
//   OutputFeed feed(job, std::move(wanted));
//   v1::ReadOutputResponse response;
//   while (feed.Take(&response)) ...
#ifndef NURSERY_SERVER_RPC_OUTPUT_FEED_H_
#define NURSERY_SERVER_RPC_OUTPUT_FEED_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/v1/job_service.pb.h"
#include "server/engine/job.h"

namespace nursery::rpc {

struct WantedOutput {
  WantedOutput() = default;

  std::string path;
  bool below = false;  // every node below it too; of items those that are still there
  int attempt = 0;     // 0: the last, and those that follow
  bool output = true;
  bool errors = true;
  bool follow = false;  // go on until the node has ended
  // Of the first attempt that is read: from this byte on, or so much before its present end.
  int64_t offset = 0;
  std::optional<int64_t> tail_bytes;
  std::optional<int64_t> tail_lines;
};

class OutputFeed {
 public:
  static constexpr bool is_long() { return true; }

  OutputFeed(std::shared_ptr<engine::Job> job, WantedOutput wanted);

  // Adds what has been written since, a message's share at most. False: nothing.
  bool Take(v1::ReadOutputResponse* response);
  // Some attempt has written, or could have.
  bool started() const { return started_; }
  // All was taken; of a node that is followed, nothing will be written any more.
  bool ended() const { return ended_; }
  Async<void> Wait(Context context, Duration patience);

 private:
  // A stream of an attempt, and how far it is read.
  struct Cursor {
    v1::OutputStream stream;
    std::shared_ptr<const engine::Output> from;
    int64_t at;
    int64_t lost;  // bytes at the end that are not kept
  };
  // What is read of a node.
  struct Reading {
    int attempt = 0;
    std::vector<Cursor> cursors;
  };

  bool NodeEnded() const;
  void NextAttempts();
  static bool IsDrained(const Reading& reading);
  void Start(const engine::OutputView& view, Reading& reading);
  // The attempts that were asked for by number and are not the last of their nodes any more: what
  // the log has of them. Each event is looked at once.
  void ReadLog();
  void StartPast(const std::string& path, const v1::Attempt& attempt);
  // Items that have ended and are read to their end: there may be a million of them.
  void ForgetGone(const std::vector<engine::OutputView>& there);
  void Follow(v1::OutputStream stream, std::shared_ptr<const engine::Output> from, bool is_first,
              Reading& reading) const;
  bool ReadNode(const std::string& path, Reading& reading, v1::ReadOutputResponse* response) const;
  bool ReadAll(v1::ReadOutputResponse* response);

  const std::shared_ptr<engine::Job> job_;
  const WantedOutput wanted_;
  const std::pair<engine::BellSender, engine::BellReceiver> bell_;
  bool ended_ = false;
  bool started_ = false;
  std::map<std::string, Reading> readings_;  // by path
  int64_t logged_ = 0;                       // events up to this one are looked at
  std::string turn_;                         // the node that was read last
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_OUTPUT_FEED_H_
