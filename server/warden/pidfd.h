// The pidfd calls, by number: the declarations in glibc 2.36 cannot be linked from C++.
//
// Thread safety: system calls.
#ifndef NURSERY_SERVER_WARDEN_PIDFD_H_
#define NURSERY_SERVER_WARDEN_PIDFD_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "server/warden/unique_fd.h"

namespace nursery::warden {

// Holds on to the process that has `pid` now; readable when it has ended. Closed at exec.
inline UniqueFd OpenPidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

inline bool SignalPidfd(int pidfd, int signal) {
  return syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
}

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_PIDFD_H_
