#include "server/app/process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "absl/synchronization/mutex.h"
#include "nursery/core/dump.h"

namespace nursery::app {
namespace {

// A closed stdin, stdout or stderr would be the next file that is opened: by a library's
// initialisation, before main. The entries of .preinit_array of a program run before those.
void OpenStandardStreams() {
  while (true) {
    const int fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO) close(fd);
    if (fd < 0 || fd > STDERR_FILENO) return;
  }
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const kOpenFirst)() = OpenStandardStreams;

int RunCatching(const std::function<int()>& program) {
  try {
    // Before any other thread: SIGQUIT prints what every task is doing, and the program goes on.
    DumpOnSigquit dumper;
    return program();
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "error: cannot start a thread: %s (ulimit -u)\n",
                 error.code().message().c_str());
    return 1;
  }
}

}  // namespace

int RunProgram(const std::function<int()>& program) {
  // A reader that went away is an error of the write, not our death.
  std::signal(SIGPIPE, SIG_IGN);
  // Debian's Abseil looks for cycles of locks at each lock that gRPC takes, which is a twelfth of
  // what a call costs, and ends the program when it finds one.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const int code = RunCatching(program);
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fprintf(stderr, "error: stdout could not be written%s%s\n", errno == 0 ? "" : ": ",
               errno == 0 ? "" : std::strerror(errno));
  return code == 0 ? 1 : code;
}

}  // namespace nursery::app
