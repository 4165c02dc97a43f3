// Which limits of whole attempts (memory, pids, cpu_weight) hold for the processes of a host.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_APP_HELD_LIMITS_H_
#define NURSERY_SERVER_APP_HELD_LIMITS_H_

#include <string>
#include <vector>

#include "server/spec/compile.h"
#include "server/warden/process_host.h"

namespace nursery::app {

// Those that do not. None until the host's warden has said hello.
spec::LimitReasons NotEnforced(const warden::ProcessHost::Stats& processes);

// The names of those that do.
std::vector<std::string> Enforced(const warden::ProcessHost::Stats& processes);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_HELD_LIMITS_H_
