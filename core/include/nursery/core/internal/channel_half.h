// ChannelHalf: a counted handle on one side of a channel.
//
// Thread safety: any thread; one handle is used by one task at a time.
#ifndef NURSERY_CORE_INTERNAL_CHANNEL_HALF_H_
#define NURSERY_CORE_INTERNAL_CHANNEL_HALF_H_

#include <memory>
#include <utility>

#include "nursery/core/internal/channel_state.h"
#include "nursery/core/task.h"

namespace nursery::internal {

// The last one to leave closes its side. Empty after it was moved from or has left.
template <class T, void (ChannelState<T>::*kAdd)(), void (ChannelState<T>::*kRemove)()>
class ChannelHalf {
 public:
  ChannelHalf(const ChannelHalf& other) : ChannelHalf(other.state_) {}
  ChannelHalf(ChannelHalf&& other) noexcept : state_(other.Yield()) {
    if (state_ != nullptr) HeldBy(StartingTask());
  }
  ChannelHalf& operator=(ChannelHalf other) noexcept {
    std::shared_ptr<ChannelState<T>> mine = Yield();
    state_ = other.Yield();
    other.state_ = std::move(mine);
    return *this;
  }
  ~ChannelHalf() { Leave(); }

  ChannelStats Stats() const { return state_ == nullptr ? ChannelStats() : state_->Stats(); }

 protected:
  explicit ChannelHalf(std::shared_ptr<ChannelState<T>> state) : state_(std::move(state)) {
    if (state_ != nullptr) ((*state_).*kAdd)();
  }
  void Leave() {
    if (const auto state = Yield()) ((*state).*kRemove)();
  }
  // For a handle that was just made.
  void HeldBy(TaskKey task) {
    if (node_.holder) state_->ForgetHolder(node_);
    if (task) state_->NoteHolder(node_, task, kAdd == &ChannelState<T>::AddSender);
  }

  std::shared_ptr<ChannelState<T>> state_;

 private:
  // Its place in the count, without a known holder.
  std::shared_ptr<ChannelState<T>> Yield() {
    if (node_.holder) state_->ForgetHolder(node_);
    return std::exchange(state_, nullptr);
  }

  HandleNode node_;
};

template <class T>
using SendHalf = ChannelHalf<T, &ChannelState<T>::AddSender, &ChannelState<T>::RemoveSender>;
template <class T>
using ReceiveHalf = ChannelHalf<T, &ChannelState<T>::AddReceiver, &ChannelState<T>::RemoveReceiver>;

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_CHANNEL_HALF_H_
