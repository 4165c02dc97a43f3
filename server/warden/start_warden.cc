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

#include "nursery/core/status.h"
#include "server/warden/pidfd.h"

namespace nursery::warden {
namespace {

constexpr int kSocketInWarden = 3;
constexpr int kLockInWarden = 4;

// A copy with a number that no dup2 below overwrites.
UniqueFd OutOfTheWay(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, kLockInWarden + 1)); }

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

  void Pass(int fd, int as) { posix_spawn_file_actions_adddup2(&actions_, fd, as); }

  // Gives an errno. The environment is empty: the warden needs none, and tasks get their own.
  int Spawn(const std::string& executable, char* const* argv, pid_t* pid) {
    char* environment[] = {nullptr};
    return posix_spawn(pid, executable.c_str(), &actions_, &attributes_, argv, environment);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
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

absl::StatusOr<WardenProcess> StartWarden(const std::string& executable, int lock_fd) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "socket to the warden");
  }
  WardenProcess warden;
  warden.socket = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  const UniqueFd socket = OutOfTheWay(theirs.get());
  const UniqueFd lock = lock_fd < 0 ? UniqueFd() : OutOfTheWay(lock_fd);
  if (!socket.valid() || (lock_fd >= 0 && !lock.valid())) {
    return ErrnoError(errno, "descriptors for the warden");
  }
  SpawnSetup setup;
  setup.Pass(socket.get(), kSocketInWarden);
  if (lock.valid()) setup.Pass(lock.get(), kLockInWarden);
  std::string name = "nursery-warden";
  std::string socket_argument = "--socket=" + std::to_string(kSocketInWarden);
  std::string lock_argument = "--lock=" + std::to_string(kLockInWarden);
  char* argv[] = {name.data(), socket_argument.data(),
                  lock.valid() ? lock_argument.data() : nullptr, nullptr};
  if (const int error = setup.Spawn(executable, argv, &warden.pid); error != 0) {
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
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) !=
      0) {
    return ErrnoError(errno, "seal of a process spec");
  }
  return file;
}

}  // namespace nursery::warden
