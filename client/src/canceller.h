// CancelState: the calls that a Canceller reaches.
//
// Thread safety: any thread.
#ifndef NURSERY_CLIENT_SRC_CANCELLER_H_
#define NURSERY_CLIENT_SRC_CANCELLER_H_

#include <grpcpp/client_context.h>

#include <set>

#include "nursery/client/call.h"
#include "nursery/core/mutex.h"

namespace nursery::client::internal {

class CancelState {
 public:
  // From here to Remove `context` may be cancelled, at once if Cancel was there before.
  void Add(grpc::ClientContext* context);
  void Remove(grpc::ClientContext* context);
  void Cancel();
  bool cancelled() const;

 private:
  mutable Mutex mutex_;
  bool cancelled_ NURSERY_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> calls_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::client::internal

#endif  // NURSERY_CLIENT_SRC_CANCELLER_H_
