// gRPC is not instrumented, so ThreadSanitizer does not see that its queue hands a tag from the
// thread that started an operation to the one that learns of its end.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_TSAN_H_
#define NURSERY_SERVER_RPC_TSAN_H_

#include "nursery/core/mutex.h"  // knows the sanitizer, and its interface

namespace nursery::rpc {

inline void TagHandedOver([[maybe_unused]] void* tag) {
#ifdef NURSERY_TSAN
  __tsan_release(tag);
#endif
}

inline void TagReceived([[maybe_unused]] void* tag) {
#ifdef NURSERY_TSAN
  __tsan_acquire(tag);
#endif
}

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_TSAN_H_
