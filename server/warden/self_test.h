// SelfTest: does containment work on this machine, here and now?
//
// Thread safety: only in a single-threaded process.
#ifndef NURSERY_SERVER_WARDEN_SELF_TEST_H_
#define NURSERY_SERVER_WARDEN_SELF_TEST_H_

#include "server/warden/enclosure.h"
#include "server/warden/protocol.h"

namespace nursery::warden {

// Starts a process that escapes from its session and its parent, kills it by what the level has and
// makes sure that it is gone. At the level kGroup it only leaves its parent. Gives the highest
// level that holds, kNone if none does (no /proc, for example). `cgroup` is an open directory below
// which leaves may be made, or -1; with `demanded` only that level is tried, unless it is kNone.
// Requires: all signals are blocked; the caller is a subreaper.
Containment SelfTest(int cgroup, Level demanded);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_SELF_TEST_H_
