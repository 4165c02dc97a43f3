#include "server/app/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "nursery/core/clock.h"
#include "nursery/core/status.h"

namespace nursery::app {
namespace {

// How long the warden of a dead server may take to kill what it had started.
constexpr std::chrono::seconds kPatience{10};
constexpr useconds_t kPollMicros = 20'000;

// The pid in the lock file; 0: none.
pid_t HolderOf(int lock) {
  char text[32] = "";
  const ssize_t size = pread(lock, text, sizeof text - 1, 0);
  return size <= 0 ? 0 : static_cast<pid_t>(std::atoi(text));
}

absl::Status Lock(int lock, const std::string& path) {
  const Clock& clock = Clock::Steady();
  const Time until = clock.Now() + kPatience;
  while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoError(errno, "cannot lock " + path);
    const pid_t holder = HolderOf(lock);
    if (holder > 0 && kill(holder, 0) == 0) {
      return Error(absl::StatusCode::kAlreadyExists, "the server with pid " +
                                                         std::to_string(holder) + " uses " + path +
                                                         "; stop it, or name another --data");
    }
    if (clock.Now() > until) {
      return Error(absl::StatusCode::kDeadlineExceeded,
                   "the server that used " + path +
                       " is gone, but processes that it started are still alive");
    }
    usleep(kPollMicros);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DataDir> DataDir::Open(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (error) return ErrnoError(error.value(), "cannot make the data directory " + path);
  if (made) chmod(path.c_str(), 0700);
  const int lock = open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return ErrnoError(errno, "cannot open the lock in " + path);
  // Attempts run in directories below it, wherever the server itself was started.
  DataDir directory(std::filesystem::absolute(path, error), lock);
  if (error) return ErrnoError(error.value(), "cannot tell where " + path + " is");
  NURSERY_RETURN_IF_ERROR(Lock(lock, path));
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock, 0) != 0 || pwrite(lock, pid.data(), pid.size(), 0) < 0) {
    return ErrnoError(errno, "cannot write the lock in " + path);
  }
  std::filesystem::remove_all(directory.scratch(), error);
  std::filesystem::create_directory(directory.scratch(), error);
  if (error) return ErrnoError(error.value(), "cannot make " + directory.scratch());
  return directory;
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataDir::~DataDir() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace nursery::app
