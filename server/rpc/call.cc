#include "server/rpc/call.h"

#include <grpc/support/time.h>

#include <algorithm>

#include "nursery/core/status.h"
#include "server/rpc/attached.h"
#include "server/rpc/tsan.h"

namespace nursery::rpc {
namespace {

// Ten years: far from the end of the clock, so that sums cannot overflow.
constexpr int64_t kMaxSeconds = int64_t{10} * 365 * 24 * 3600;

}  // namespace

Call::Call(grpc::AsyncGenericService& service, Queue& queue) : service_(service), queue_(queue) {
  context_.AsyncNotifyWhenDone(static_cast<Tag*>(&ended_tag_));
}

void Call::StartAccept(Tag* tag) {
  TagHandedOver(tag);
  service_.RequestCall(&context_, &stream_, queue_.get(), queue_.get(), tag);
}

void Call::StartRead(Tag* tag) {
  TagHandedOver(tag);
  stream_.Read(&message_, tag);
}

void Call::StartWrite(Tag* tag) {
  TagHandedOver(tag);
  stream_.Write(message_, tag);
}

void Call::StartWriteAndFinish(Tag* tag) {
  TagHandedOver(tag);
  stream_.WriteAndFinish(message_, grpc::WriteOptions(), status_, tag);
}

void Call::StartFinish(Tag* tag) {
  TagHandedOver(tag);
  stream_.Finish(status_, tag);
}

void Call::AwaitGone(Tag* tag) {
  {
    MutexLock lock(mutex_);
    if (!ended_) {
      gone_ = tag;
      return;
    }
  }
  tag->OnDone(true);
}

void Call::OnEnded() {
  Tag* gone;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    lost_ = context_.IsCancelled();
    // The scope cannot die meanwhile: SetScope takes the lock first.
    if (lost_ && scope_ != nullptr) CancelLost();
    gone = gone_;
  }
  // Last: whoever waits for it destroys the call.
  if (gone != nullptr) gone->OnDone(true);
}

void Call::SetScope(const CancelScope* scope, Time out_of_time) {
  MutexLock lock(mutex_);
  scope_ = scope;
  out_of_time_ = out_of_time;
  if (lost_ && scope_ != nullptr) CancelLost();
}

void Call::CancelLost() {
  if (scope_->context().Now() < out_of_time_) {
    scope_->Cancel("the client has gone");
    return;
  }
  Cause cause(CauseKind::kDeadline,
              Error(absl::StatusCode::kDeadlineExceeded, "the client's deadline has passed"));
  cause.actor = kCallDeadline;
  scope_->Cancel(std::move(cause));
}

std::string Call::Metadata(const std::string& key) const {
  const auto& metadata = context_.client_metadata();
  const auto found = metadata.find(grpc::string_ref(key));
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

Time Call::Deadline(Time now) const {
  const gpr_timespec deadline = context_.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return kNever;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  const int64_t seconds = std::clamp<int64_t>(left.tv_sec, -kMaxSeconds, kMaxSeconds);
  return now + std::chrono::seconds(seconds) + std::chrono::nanoseconds(left.tv_nsec);
}

}  // namespace nursery::rpc
