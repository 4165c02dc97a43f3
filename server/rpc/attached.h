// How long a job may take whose call waits for it.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_ATTACHED_H_
#define NURSERY_SERVER_RPC_ATTACHED_H_

#include <algorithm>
#include <chrono>

#include "nursery/core/clock.h"

namespace nursery::rpc {

// What bounds it, in causes.
inline constexpr char kCallDeadline[] = "call deadline";

// What an attached job leaves of its call's deadline, so that its result can be delivered.
inline Duration ReserveOf(Duration remaining) {
  return std::clamp<Duration>(remaining / 20, std::chrono::milliseconds(50),
                              std::chrono::seconds(1));
}

inline Time AttachedDeadline(Time call, Time now) {
  return call == kNever ? kNever : call - ReserveOf(call - now);
}

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_ATTACHED_H_
