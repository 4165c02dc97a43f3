// RunReaper: the life of the small process that stands between the warden and an attempt.
//
// It is a subreaper, so whatever the attempt starts stays below it: sessions, double forks and
// cleared environments change nothing. Where there are cgroups the attempt also has one of its own,
// which is killed as a whole. It starts the task, reaps all the time, and when the attempt is over
// it kills until the kernel says that no child is left and the cgroup is empty; only then it
// reports GONE. It needs nobody for that: it also does so when the warden dies. Then it takes the
// next attempt, with nothing left of the one before: a new process for each would be one more fork
// and exit.
//
// At the level `group` it is no subreaper, and has the leader's session only. What has left that is
// looked for by its mark, and named.
//
// Thread safety: only in a single-threaded process, just forked from the warden.
#ifndef NURSERY_SERVER_WARDEN_REAPER_H_
#define NURSERY_SERVER_WARDEN_REAPER_H_

#include <string>
#include <vector>

#include "server/warden/channel.h"
#include "server/warden/enclosure.h"
#include "server/warden/launch.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

struct ReaperOptions {
  UniqueFd control;  // the reaper's end of its socket to the warden
  Inherited inherited;
  Containment containment;
  std::string run_cgroup;  // the path of containment.cgroup
  // Stay open until the reaper ends, even when the warden is dead: the lock of the data directory,
  // for which a new server waits.
  std::vector<int> hold_fds;
};

// Runs the attempts that the warden sends, one after the other, until it shuts down its side.
// Requires: all signals are blocked and have their default dispositions.
void RunReaper(ReaperOptions options);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_REAPER_H_
