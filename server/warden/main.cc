// nursery-warden: started by nurseryd with one end of a socketpair; see warden.h.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/warden/file_limit.h"
#include "server/warden/launch.h"
#include "server/warden/self_test.h"
#include "server/warden/warden.h"

namespace {

using nursery::warden::Level;
using nursery::warden::UniqueFd;

// The number of an open descriptor above 2; -1 if it is not one.
int ParseFd(const std::string& text) {
  const int fd = std::atoi(text.c_str());
  return fd > 2 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

// A terminal's signals and a polite kill must not end the warden before its tasks: blocked for
// good. Tasks get an empty mask and, from here, default dispositions.
void BlockSignals() {
  // By the raw call, because glibc hides two signals that it uses itself and that a parent may have
  // set to be ignored. All zero is SIG_DFL without flags.
  const char default_action[64] = {};
  for (int signal = 1; signal < NSIG; ++signal) {
    syscall(SYS_rt_sigaction, signal, default_action, nullptr, NSIG / 8);
  }
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

void LeaveServerBehind(std::vector<int> keep) {
  setsid();  // fails if the server has done it at the start, as it should
  if (chdir("/") != 0) std::perror("nursery-warden: chdir /");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  nursery::warden::CloseFilesExcept(std::move(keep));
}

// Open, for the warden and its reapers; empty if it cannot be had.
UniqueFd OpenCgroup(const std::string& path) {
  if (path.empty()) return UniqueFd();
  return UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int Usage() {
  std::fprintf(stderr,
               "nursery-warden is started by nurseryd: --socket=FD [--hold=FD]... [--files=N]\n"
               "  [--cgroup=DIRECTORY] [--level=LEVEL] [--instance=MARKS]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  int socket_fd = -1;
  std::vector<int> hold_fds;
  rlim_t task_files = 0;   // what tasks may have open; 0: as this process
  std::string run_cgroup;  // where attempts get theirs; empty: nowhere
  Level demanded = Level::kNone;
  std::string instance;  // what the marks of its attempts begin with
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--files=")) {
      task_files = std::strtoull(argv[i] + std::strlen("--files="), nullptr, 10);
      continue;
    }
    if (argument.starts_with("--cgroup=")) {
      run_cgroup = argument.substr(std::strlen("--cgroup="));
      continue;
    }
    if (argument.starts_with("--instance=")) {
      instance = argument.substr(std::strlen("--instance="));
      continue;
    }
    if (argument.starts_with("--level=")) {
      demanded = nursery::warden::LevelOf(argument.substr(std::strlen("--level=")));
      if (demanded == Level::kNone) return Usage();
      continue;
    }
    const bool socket = argument.starts_with("--socket=");
    if (!socket && !argument.starts_with("--hold=")) return Usage();
    const int fd = ParseFd(std::string(argument.substr(argument.find('=') + 1)));
    if (fd < 0) return Usage();
    if (socket) {
      socket_fd = fd;
    } else {
      hold_fds.push_back(fd);
    }
  }
  if (socket_fd < 0) return Usage();
  BlockSignals();
  std::vector<int> keep = hold_fds;
  keep.push_back(socket_fd);
  LeaveServerBehind(std::move(keep));
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) std::perror("nursery-warden: no subreaper");

  nursery::warden::WardenOptions options;
  options.server = UniqueFd(socket_fd);
  options.hold_fds = std::move(hold_fds);
  options.instance = std::move(instance);
  options.inherited = nursery::warden::ReadInherited();
  if (task_files > 0) options.inherited.files.rlim_cur = task_files;
  // One socket per attempt.
  nursery::warden::RaiseFileLimit();
  options.cgroup = OpenCgroup(run_cgroup);
  options.containment = nursery::warden::SelfTest(options.cgroup.get(), demanded);
  if (options.containment.level == Level::kCgroup) {
    options.run_cgroup = run_cgroup;
    options.containment.held =
        nursery::warden::HeldBelow(nursery::warden::Cgroup::Open(run_cgroup));
  }
  // As on a machine without: what escapes becomes init's child, not ours.
  if (options.containment.level == Level::kGroup) prctl(PR_SET_CHILD_SUBREAPER, 0);
  nursery::warden::Warden(std::move(options)).Run();
  return 0;
}
