// Starting the warden from the server's side.
//
// Thread safety: any thread, at any time: posix_spawn, no fork.
#ifndef NURSERY_SERVER_WARDEN_START_WARDEN_H_
#define NURSERY_SERVER_WARDEN_START_WARDEN_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/warden/process_spec.h"
#include "server/warden/protocol.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

struct WardenProcess {
  pid_t pid = -1;  // a child of this process: the caller reaps it
  UniqueFd pidfd;
  UniqueFd socket;  // non-blocking SOCK_SEQPACKET, see protocol.h
};

// The path of nursery-warden: $NURSERY_WARDEN if set, else beside the running binary, else in
// ../libexec/nursery as seen from there.
absl::StatusOr<std::string> FindWarden();

struct WardenSettings {
  // It and its reapers hold copies open until the last of them has ended: a lock, or a pipe whose
  // end of file tells just that.
  std::vector<int> hold_fds;
  // How many descriptors a task may have open; 0: as many as this process.
  rlim_t task_files = 0;
  // Where attempts get cgroups; empty: nowhere. The warden removes it at its end.
  std::string run_cgroup;
  // The level to use; kNone: the highest that works.
  Level level = Level::kNone;
  // What the marks of its attempts begin with; empty: what is left of one that was lost cannot be
  // told from that of another.
  std::string instance;
};

// Starts `executable` in a session of its own.
absl::StatusOr<WardenProcess> StartWarden(const std::string& executable,
                                          const WardenSettings& settings);

// The sealed memfd that carries `spec` to the warden.
absl::StatusOr<UniqueFd> MakeSpecFile(const ProcessSpec& spec);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_START_WARDEN_H_
