#include "server/warden/start_warden.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/warden/pidfd.h"

namespace nursery::warden {
namespace {

constexpr int kFirstFdInWarden = 3;
constexpr int kMaxPassed = 8;

class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnSetup() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  // Gives the number that `fd` will have in the child; -1, which the warden refuses, if this
  // process has no descriptor left for a copy.
  int Pass(int fd) {
    // A copy with a number that no dup2 of this list overwrites.
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, kFirstFdInWarden + kMaxPassed));
    if (!copy.valid()) return -1;
    posix_spawn_file_actions_adddup2(&actions_, copy.get(), next_);
    copies_.push_back(std::move(copy));
    return next_++;
  }

  // Gives an errno. The environment is empty: the warden needs none, and tasks get their own.
  int Spawn(const std::string& executable, char* const* argv, pid_t* pid) {
    char* environment[] = {nullptr};
    return posix_spawn(pid, executable.c_str(), &actions_, &attributes_, argv, environment);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  std::vector<UniqueFd> copies_;
  int next_ = kFirstFdInWarden;
};

}  // namespace

absl::StatusOr<std::string> FindWarden() {
  if (const char* path = std::getenv("NURSERY_WARDEN"); path != nullptr && *path != '\0') {
    return std::string(path);
  }
  std::error_code error;
  const std::filesystem::path directory =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::filesystem::path candidates[] = {
      directory / "nursery-warden", directory.parent_path() / "libexec/nursery/nursery-warden"};
  for (const std::filesystem::path& candidate : candidates) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate.string();
  }
  return Error(absl::StatusCode::kNotFound,
               "no nursery-warden at " + candidates[0].string() + " nor at " +
                   candidates[1].string() +
                   ": install it there, or set NURSERY_WARDEN to its path");
}

absl::StatusOr<WardenProcess> StartWarden(const std::string& executable,
                                          const WardenSettings& settings) {
  NURSERY_CHECK(settings.hold_fds.size() < kMaxPassed);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "socket to the warden");
  }
  WardenProcess warden;
  warden.socket = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  SpawnSetup setup;
  std::vector<std::string> arguments = {"nursery-warden",
                                        "--socket=" + std::to_string(setup.Pass(theirs.get()))};
  for (const int fd : settings.hold_fds) {
    arguments.push_back("--hold=" + std::to_string(setup.Pass(fd)));
  }
  if (settings.task_files > 0) {
    arguments.push_back("--files=" + std::to_string(settings.task_files));
  }
  if (!settings.run_cgroup.empty()) arguments.push_back("--cgroup=" + settings.run_cgroup);
  if (settings.level != Level::kNone) {
    arguments.push_back("--level=" + std::string(LevelName(settings.level)));
  }
  if (!settings.instance.empty()) arguments.push_back("--instance=" + settings.instance);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (const int error = setup.Spawn(executable, argv.data(), &warden.pid); error != 0) {
    return ErrnoError(error, "start of the warden " + executable);
  }
  // A child that nobody has reaped: the pid is still its own.
  warden.pidfd = OpenPidfd(warden.pid);
  return warden;
}

absl::StatusOr<UniqueFd> MakeSpecFile(const ProcessSpec& spec) {
  if (const std::string problem = ValidateSpec(spec); !problem.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, problem);
  }
  UniqueFd file(memfd_create("nursery-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return ErrnoError(errno, "memfd for a process spec");
  const std::string bytes = EncodeSpec(spec);
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t size = write(file.get(), bytes.data() + written, bytes.size() - written);
    if (size < 0 && errno != EINTR) return ErrnoError(errno, "write of a process spec");
    if (size > 0) written += static_cast<size_t>(size);
  }
  // FUTURE_WRITE, because WRITE waits until the kernel has flushed its page lists on every core:
  // five milliseconds.
  if (fcntl(file.get(), F_ADD_SEALS,
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return ErrnoError(errno, "seal of a process spec");
  }
  return file;
}

}  // namespace nursery::warden
