// Launch: turns a just forked child into the task process.
//
// Thread safety: only by the child's one thread.
#ifndef NURSERY_SERVER_WARDEN_LAUNCH_H_
#define NURSERY_SERVER_WARDEN_LAUNCH_H_

#include <sys/resource.h>

#include <array>
#include <string>
#include <vector>

#include "server/warden/process_spec.h"
#include "server/warden/protocol.h"

namespace nursery::warden {

// Closes every descriptor above 2 that is not in `keep`; negative ones in it are passed over.
void CloseFilesExcept(std::vector<int> keep);

// What a task gets from the warden's own start rather than from its spec.
struct Inherited {
  rlimit files = {};        // before the warden raised its own
  int oom_score_adj = 500;  // what tasks get: the warden's own and 500
};

// Reads both from the calling process.
Inherited ReadInherited();

// What the child writes to its report descriptor when it could not become the program. A program
// that was started closes the descriptor, and the reader sees end of file.
struct LaunchFailure {
  Step step;
  int error;
};

// The files to try for argv[0], in order.
std::vector<std::string> ProgramsOf(const SpecView& spec);

// What the child has from its parent, the reaper. All descriptors are above 2.
struct LaunchSite {
  std::vector<std::string> programs;  // ProgramsOf(spec)
  pid_t reaper = -1;
  std::array<int, 3> stdio = {-1, -1, -1};  // -1: /dev/null
  int report_fd = -1;
  int cgroup_fd = -1;  // the cgroup that the child has to enter; -1: it is where it belongs
};

// Sets up the calling process after `spec` and executes the program: own session, empty signal mask
// (dispositions are the default since the warden's start), every other descriptor closed at exec.
// Does not return. Makes only calls that are async-signal-safe and need no memory: it may be the
// reaper's.
[[noreturn]] void Launch(const SpecView& spec, const Inherited& inherited, const LaunchSite& site);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_LAUNCH_H_
