// Where the cgroups of this process's wardens are made: one directory for each start of a warden,
// below the cgroup that this process is in. See cgroup.h for why they are always fresh.
//
// Thread safety: any thread; MoveAside before others are started.
#ifndef NURSERY_SERVER_WARDEN_RUN_CGROUP_H_
#define NURSERY_SERVER_WARDEN_RUN_CGROUP_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/warden/cgroup.h"

namespace nursery::warden {

// Every such directory is called so, and something behind it that no other start has.
inline constexpr std::string_view kRunPrefix = "nursery-run-";

// The cgroup below which this process may make some: where it is, if it may write there.
CgroupPlace FindOwnCgroup();

// Where a cgroup was delegated to this process alone (systemd's Delegate=yes), moves it into a
// child `server` of it and hands the controllers on: only a cgroup without processes may have
// children with limits. Elsewhere nothing is done. Gives what FindOwnCgroup gave before.
CgroupPlace MoveAside();

// Makes a directory below `base`.
absl::StatusOr<std::string> MakeRunCgroup(const std::string& base);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_RUN_CGROUP_H_
