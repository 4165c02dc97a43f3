// SelfTest: does containment work on this machine, here and now?
//
// Thread safety: only in a single-threaded process.
#ifndef NURSERY_SERVER_WARDEN_SELF_TEST_H_
#define NURSERY_SERVER_WARDEN_SELF_TEST_H_

#include "server/warden/protocol.h"

namespace nursery::warden {

// Starts a process that escapes from its session and its parent, kills it and makes sure that it is
// gone. Gives the level that holds, kNone if none does (no /proc, for example).
// Requires: all signals are blocked; the caller is a subreaper.
Level SelfTest();

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_SELF_TEST_H_
