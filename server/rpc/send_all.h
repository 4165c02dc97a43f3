// SendAll: what a feed has, message after message, at the client's pace; and an empty message when
// there was nothing for a while, which says that the server is alive.
//
// A feed has Take(&message): false when there is nothing now; ended(): nothing will come after what
// was taken; Wait(context, patience); and is_long(): Take may compute for more than a
// millisecond.
//
// Thread safety: the handler's task. Lifetime: all three outlive it.
// Suspends: until the feed has ended or the call is lost. Resumes on: the executor.
// Cancellation: returns.
//
//   v1::WatchJobsResponse last;
//   co_await SendAll(context, session, &feed, &last);
//   if (feed.ended()) session->SetLast(last);
#ifndef NURSERY_SERVER_RPC_SEND_ALL_H_
#define NURSERY_SERVER_RPC_SEND_ALL_H_

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/sleep.h"
#include "server/rpc/session.h"

namespace nursery::rpc {

inline constexpr std::chrono::seconds kHeartbeat{5};

// `next` may have begun to be filled. What the feed ends with stays in it, not sent.
template <class Feed, class Message>
Async<void> SendAll(Context context, Session* session, Feed* feed, Message* next) {
  Time heartbeat = Later(context.Now(), kHeartbeat);
  for (;;) {
    if (feed->is_long()) co_await OnWorker();
    const bool some = feed->Take(next);
    if (feed->ended() || context.cancelled()) co_return;
    if (!some && context.Now() < heartbeat) {
      co_await feed->Wait(context, heartbeat - context.Now());
      continue;
    }
    const bool sent = co_await session->Write(*next);
    if (!sent) co_return;
    next->Clear();
    heartbeat = Later(context.Now(), kHeartbeat);
  }
}

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_SEND_ALL_H_
