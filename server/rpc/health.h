// Health and reflection: grpc.health.v1.Health and grpc.reflection.v1alpha.ServerReflection, as
// ordinary handlers. gRPC's own health service brings threads that compete for the queue.
//
// Thread safety: any thread. Lifetime: outlives the server, as the methods do.
#ifndef NURSERY_SERVER_RPC_HEALTH_H_
#define NURSERY_SERVER_RPC_HEALTH_H_

#include <functional>

#include "server/rpc/methods.h"

namespace nursery::rpc {

// `serving`: whether work is taken.
void AddHealth(Methods& methods, std::function<bool()> serving);
// Tells about every service that is in `methods` by the time of the call.
void AddReflection(Methods& methods);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_HEALTH_H_
