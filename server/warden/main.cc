// nursery-warden: started by nurseryd with one end of a socketpair; see warden.h.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "server/warden/launch.h"
#include "server/warden/self_test.h"
#include "server/warden/warden.h"

namespace {

using nursery::warden::UniqueFd;

// The number of an open descriptor above 2; -1 if it is not one.
int ParseFd(std::string_view text) {
  const int fd = std::atoi(text.data());
  return fd > 2 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

// A terminal's signals and a polite kill must not end the warden before its tasks: blocked for
// good. Tasks get an empty mask and, from here, default dispositions.
void BlockSignals() {
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

void LeaveServerBehind(int socket_fd, int lock_fd) {
  setsid();  // fails if the server has done it at the start, as it should
  if (chdir("/") != 0) std::perror("nursery-warden: chdir /");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  const int low = std::min(socket_fd, lock_fd > 0 ? lock_fd : socket_fd);
  const int high = std::max(socket_fd, lock_fd);
  if (low > 3) close_range(3, static_cast<unsigned>(low) - 1, 0);
  if (high > low + 1) {
    close_range(static_cast<unsigned>(low) + 1, static_cast<unsigned>(high) - 1, 0);
  }
  close_range(static_cast<unsigned>(high) + 1, ~0u, 0);
}

// One socket per attempt.
void RaiseFileLimit() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int Usage() {
  std::fprintf(stderr, "nursery-warden is started by nurseryd: --socket=FD [--lock=FD]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  int socket_fd = -1;
  int lock_fd = -1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    int* const fd = argument.starts_with("--socket=") ? &socket_fd
                    : argument.starts_with("--lock=") ? &lock_fd
                                                      : nullptr;
    if (fd == nullptr) return Usage();
    *fd = ParseFd(argument.substr(argument.find('=') + 1));
    if (*fd < 0) return Usage();
  }
  if (socket_fd < 0) return Usage();
  BlockSignals();
  LeaveServerBehind(socket_fd, lock_fd);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) std::perror("nursery-warden: no subreaper");

  nursery::warden::WardenOptions options;
  options.server = UniqueFd(socket_fd);
  options.lock_fd = lock_fd;
  options.inherited = nursery::warden::ReadInherited();
  RaiseFileLimit();
  options.level = nursery::warden::SelfTest();
  nursery::warden::Warden(std::move(options)).Run();
  return 0;
}
