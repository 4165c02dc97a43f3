#include "server/warden/launch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>

#include "server/warden/cgroup.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {
namespace {

constexpr char kDefaultPath[] = "/usr/local/bin:/usr/bin:/bin";
constexpr int kTaskOomScore = 500;
constexpr int kMaxOomScore = 1000;

bool SetStdio(const std::array<int, 3>& stdio) {
  for (int target = 0; target < 3; ++target) {
    int source = stdio[target];
    if (source < 0) source = open("/dev/null", (target == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
    if (source < 0 || dup2(source, target) < 0) return false;
  }
  return close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

// Raising the score needs no privilege. Without /proc it cannot be set; the task runs all the same.
void SetOomScore(int score) {
  const UniqueFd fd(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  char text[16];  // not by dprintf, whose lock a child that is killed would keep
  const auto [end, error] = std::to_chars(std::begin(text), std::end(text), score);
  [[maybe_unused]] const ssize_t written = write(fd.get(), text, static_cast<size_t>(end - text));
}

bool SetLimits(const Limits& limits, const rlimit& files) {
  static constexpr __rlimit_resource kResources[kLimitCount] = {
      RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_NPROC};
  if (!limits[static_cast<size_t>(Limit::kFiles)] && setrlimit(RLIMIT_NOFILE, &files) != 0) {
    return false;
  }
  for (size_t i = 0; i < kLimitCount; ++i) {
    if (!limits[i]) continue;
    rlimit limit = {*limits[i], *limits[i]};
    // SIGXCPU, which tells why, comes at the soft limit; SIGKILL, which does not, at the hard one.
    if (kResources[i] == RLIMIT_CPU && limit.rlim_max < RLIM_INFINITY - 1) ++limit.rlim_max;
    if (setrlimit(kResources[i], &limit) != 0) return false;
  }
  return true;
}

std::string_view PathOf(const SpecView& spec) {
  for (const char* entry : spec.env) {
    if (entry != nullptr && std::strncmp(entry, "PATH=", 5) == 0) return entry + 5;
  }
  return kDefaultPath;
}

// Gives the errno that says most: a file that may not be executed beats one that is not there.
int Execute(const std::vector<std::string>& programs, const SpecView& spec) {
  int error = ENOENT;
  for (const std::string& program : programs) {
    execve(program.c_str(), spec.argv.data(), spec.env.data());
    if (errno == ENOENT || errno == ENOTDIR) continue;
    if (errno != EACCES) return errno;
    error = EACCES;
  }
  return error;
}

// Dies with the reaper: the last line of defence for the leader when warden and reaper are killed
// at once. (It is bound to the thread that made it, which lives as long as the reaper, and does not
// hold for the leader's children.)
bool DieWithReaper(pid_t reaper) {
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == reaper;
}

// For good: the real, the effective and the saved ids. Root loses all capabilities with it. By the
// raw calls, for this thread: those of glibc ask all threads to follow by a signal, whose handler
// is gone since the warden's start, and a sanitizer has one.
bool TakeOn(const Account& account) {
  static_assert(sizeof(void*) == 8, "where these calls take 32 bits");
  return syscall(SYS_setgroups, account.groups.size(), account.groups.data()) == 0 &&
         syscall(SYS_setresgid, account.group, account.group, account.group) == 0 &&
         syscall(SYS_setresuid, account.user, account.user, account.user) == 0;
}

bool AddNice(int increment) {
  errno = 0;
  return increment == 0 || nice(increment) != -1 || errno == 0;
}

LaunchFailure SetUpAndExecute(const SpecView& spec, const Inherited& inherited,
                              const LaunchSite& site) {
  if (!DieWithReaper(site.reaper)) return {Step::kFork, ESRCH};
  if (!EnterCgroup(site.cgroup_fd)) return {Step::kCgroup, errno};
  if (setsid() < 0) return {Step::kSession, errno};
  if (!SetStdio(site.stdio)) return {Step::kStdio, errno};
  SetOomScore(inherited.oom_score_adj);
  if (!AddNice(spec.nice)) return {Step::kPriority, errno};
  if (!SetLimits(spec.limits, inherited.files)) return {Step::kLimits, errno};
  if (spec.account) {
    if (!TakeOn(*spec.account)) return {Step::kAccount, errno};
    // The change of ids has taken it back.
    if (!DieWithReaper(site.reaper)) return {Step::kFork, ESRCH};
  }
  if (spec.no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return {Step::kPrivileges, errno};
  }
  umask(spec.umask);
  if (chdir(spec.cwd) != 0) return {Step::kDirectory, errno};
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return {Step::kProgram, Execute(site.programs, spec)};
}

}  // namespace

std::vector<std::string> ProgramsOf(const SpecView& spec) {
  const std::string program = spec.argv[0];
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> programs;
  std::string_view path = PathOf(spec);
  while (true) {
    const size_t colon = path.find(':');
    std::string& each = programs.emplace_back(path.substr(0, colon));
    if (each.empty()) each = ".";
    each += '/';
    each += program;
    if (colon == std::string_view::npos) return programs;
    path.remove_prefix(colon + 1);
  }
}

void CloseFilesExcept(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned int first = 3;
  for (const int fd : keep) {
    if (fd < 3) continue;
    const auto kept = static_cast<unsigned int>(fd);
    if (kept > first) close_range(first, kept - 1, 0);
    first = kept + 1;
  }
  close_range(first, ~0u, 0);
}

Inherited ReadInherited() {
  Inherited inherited;
  getrlimit(RLIMIT_NOFILE, &inherited.files);
  const UniqueFd fd(open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
  char text[16] = {};
  if (fd.valid() && read(fd.get(), text, sizeof(text) - 1) > 0) {
    inherited.oom_score_adj = std::min(std::atoi(text) + kTaskOomScore, kMaxOomScore);
  }
  return inherited;
}

void Launch(const SpecView& spec, const Inherited& inherited, const LaunchSite& site) {
  const LaunchFailure failure = SetUpAndExecute(spec, inherited, site);
  // The reaper reads the report or is dead; there is nobody else to tell.
  [[maybe_unused]] const ssize_t written = write(site.report_fd, &failure, sizeof(failure));
  _exit(127);
}

}  // namespace nursery::warden
