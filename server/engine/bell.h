// Bells: wake tasks that will then look at what has changed. Ringing never waits, and rings that
// nobody has heard yet are one.
//
// Thread safety: any thread. Lifetime: a receiver may outlive its bells, and then finds them
// closed.
//
//   const BellReceiver bell = bells.Watch();
//   bells.Ring();
//   absl::StatusOr<Tick> rung = co_await bell.Receive(ctx);
#ifndef NURSERY_SERVER_ENGINE_BELL_H_
#define NURSERY_SERVER_ENGINE_BELL_H_

#include <atomic>
#include <utility>
#include <vector>

#include "nursery/core/channel.h"
#include "nursery/core/mutex.h"
#include "nursery/core/status.h"

namespace nursery::engine {

struct Tick {};
// Both are the halves of a channel of capacity 1.
using BellSender = Sender<Tick>;
using BellReceiver = Receiver<Tick>;

class Bells {
 public:
  Bells() = default;

  BellReceiver Watch() NURSERY_EXCLUDES(mutex_) {
    auto [sender, receiver] = MakeChannel<Tick>(1);
    Add(std::move(sender));
    return receiver;
  }
  // The same for a watcher of several: one bell for all of them.
  void Add(BellSender bell) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    // What never rings again has to forget those who have gone all the same.
    if (bells_.size() == room_) {
      std::erase_if(bells_, [](const BellSender& each) { return each.Stats().receivers == 0; });
      room_ = 2 * bells_.size() + kLeastRoom;
    }
    bells_.push_back(std::move(bell));
    any_.store(true);
  }

  // What has changed was written under a lock that watchers take to look: a watcher that is missed
  // here looks after the change.
  void Ring() NURSERY_EXCLUDES(mutex_) {
    if (!any_.load()) return;
    MutexLock lock(mutex_);
    // Full is as good as rung; FAILED_PRECONDITION: the watcher has gone.
    std::erase_if(bells_, [](const BellSender& bell) {
      return absl::IsFailedPrecondition(bell.TrySend(Tick()));
    });
    any_.store(!bells_.empty());
  }

  // Some of them may have gone.
  size_t watchers() const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return bells_.size();
  }

 private:
  static constexpr size_t kLeastRoom = 8;

  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  std::vector<BellSender> bells_ NURSERY_GUARDED_BY(mutex_);
  size_t room_ NURSERY_GUARDED_BY(mutex_) = kLeastRoom;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_BELL_H_
