#include "client/src/canceller.h"

namespace nursery::client {
namespace internal {

void CancelState::Add(grpc::ClientContext* context) {
  MutexLock lock(mutex_);
  calls_.insert(context);
  if (cancelled_) context->TryCancel();
}

void CancelState::Remove(grpc::ClientContext* context) {
  MutexLock lock(mutex_);
  calls_.erase(context);
}

void CancelState::Cancel() {
  // TryCancel only tells; the lock keeps the contexts alive meanwhile.
  MutexLock lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

bool CancelState::cancelled() const {
  MutexLock lock(mutex_);
  return cancelled_;
}

}  // namespace internal

Canceller::Canceller() : state_(std::make_shared<internal::CancelState>()) {}
void Canceller::Cancel() const { state_->Cancel(); }
bool Canceller::cancelled() const { return state_->cancelled(); }

}  // namespace nursery::client
