// RunReaper: the life of the small process that stands between the warden and one attempt.
//
// It is a subreaper, so whatever the attempt starts stays below it: sessions, double forks and
// cleared environments change nothing. It starts the task, reaps all the time, and when the attempt
// is over it kills until the kernel says that no child is left; only then it reports GONE. It needs
// nobody for that: it also does so when the warden dies.
//
// Thread safety: only in a single-threaded process, just forked from the warden.
#ifndef NURSERY_SERVER_WARDEN_REAPER_H_
#define NURSERY_SERVER_WARDEN_REAPER_H_

#include <vector>

#include "server/warden/channel.h"
#include "server/warden/launch.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

struct ReaperOptions {
  Packet spawn;      // the SPAWN packet as the server sent it
  UniqueFd control;  // the reaper's end of its socket to the warden
  UniqueFd spec;     // the memfd
  UniqueFd stdio[3];
  Inherited inherited;
  // Stay open until this attempt has ended, even when the warden is dead: the lock of the data
  // directory, for which a new server waits.
  std::vector<int> hold_fds;
};

// Requires: all signals are blocked and have their default dispositions. Returns the exit status.
int RunReaper(ReaperOptions options);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_REAPER_H_
