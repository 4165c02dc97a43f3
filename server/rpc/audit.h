// Audit: a line of JSON on stderr for whatever starts or ends work: who, what, which job. Callers
// that are not audited leave none.
//
// Thread safety: any thread; a line is written at once.
#ifndef NURSERY_SERVER_RPC_AUDIT_H_
#define NURSERY_SERVER_RPC_AUDIT_H_

#include <string_view>

#include "nursery/core/clock.h"
#include "server/rpc/identity.h"

namespace nursery::rpc {

// `method` as in "SubmitJob"; `detail` is what the caller said, as the reason of a cancel.
void Audit(WallTime now, const Identity& identity, std::string_view method, std::string_view job,
           std::string_view detail);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_AUDIT_H_
