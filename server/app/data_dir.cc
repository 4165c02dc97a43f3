#include "server/app/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <optional>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/status.h"
#include "server/engine/remove_tree.h"
#include "server/warden/process_tree.h"
#include "server/warden/unique_fd.h"

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

// One that is dead may still have its pid, until whoever started it has looked.
bool IsAlive(pid_t pid) {
  const std::optional<warden::ProcessInfo> process = warden::ReadProcess(pid);
  return process && !process->dead;
}

constexpr int kIdWords = 4;
constexpr size_t kMaxNamed = 20;

// Chance, and kept: what servers of this directory have started is told from all else by it.
std::string NewId() {
  std::random_device chance;
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (int i = 0; i < kIdWords; ++i) text << std::setw(8) << chance();
  return text.str();
}

absl::Status WriteAndSync(const std::string& file, const std::string& text) {
  const warden::UniqueFd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoError(errno, "cannot write " + file);
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written < 0) return ErrnoError(errno, "cannot write " + file);
  // What a disk gives that gets full in the middle.
  if (written < static_cast<ssize_t>(text.size()))
    return ErrnoError(ENOSPC, "cannot write " + file);
  return fsync(fd.get()) == 0 ? absl::OkStatus() : ErrnoError(errno, "cannot write " + file);
}

// Gives `draft` its name, unless there is such a file: then that one is as good. A file system that
// cannot rename so has links mostly.
bool Publish(const std::string& draft, const std::string& file) {
  return renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, file.c_str(), RENAME_NOREPLACE) == 0 ||
         errno == EEXIST || link(draft.c_str(), file.c_str()) == 0 || errno == EEXIST;
}

// A file that is there is whole, also after a crash, and stays if it was there before.
absl::Status MakeWhole(const std::string& file, const std::string& text) {
  // By chance: pids may be the same where two containers share a volume.
  const std::string draft = file + "." + NewId();
  absl::Status made = WriteAndSync(draft, text);
  if (made.ok() && !Publish(draft, file)) made = ErrnoError(errno, "cannot write " + file);
  unlink(draft.c_str());
  if (!made.ok()) return made;
  const std::string parent = std::filesystem::path(file).parent_path();
  const warden::UniqueFd directory(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid() && fsync(directory.get()) == 0) return absl::OkStatus();
  return ErrnoError(errno, "cannot write " + parent);
}

absl::Status StillAlive(const std::string& path, const warden::Instance& instance) {
  std::string text =
      "the server that used " + path + " is gone, but processes that it started are still alive";
  std::vector<std::string> alive = warden::FindLeftovers(instance);
  alive.resize(std::min(alive.size(), kMaxNamed));
  for (const std::string& each : alive) text += "; " + each;
  return Error(absl::StatusCode::kDeadlineExceeded, text);
}

absl::Status Lock(int lock, const std::string& path, const warden::Instance& instance) {
  const Clock& clock = Clock::Steady();
  const Time until = clock.Now() + kPatience;
  while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoError(errno, "cannot lock " + path);
    const pid_t holder = HolderOf(lock);
    if (IsAlive(holder)) {
      return Error(absl::StatusCode::kAlreadyExists, "the server with pid " +
                                                         std::to_string(holder) + " uses " + path +
                                                         "; stop it, or name another --data");
    }
    if (clock.Now() > until) return StillAlive(path, instance);
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
  NURSERY_RETURN_IF_ERROR(directory.ReadInstance());
  NURSERY_RETURN_IF_ERROR(Lock(lock, path, directory.instance_));
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock, 0) != 0 || pwrite(lock, pid.data(), pid.size(), 0) < 0) {
    return ErrnoError(errno, "cannot write the lock in " + path);
  }
  // Before anything new is started, and before the directories of what is killed are removed.
  NURSERY_RETURN_IF_ERROR(warden::SweepLeftovers(directory.instance_, kPatience));
  engine::RemoveTree(directory.scratch());
  std::filesystem::create_directory(directory.scratch(), error);
  if (error) return ErrnoError(error.value(), "cannot make " + directory.scratch());
  return directory;
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      instance_(std::move(other.instance_)) {}

absl::Status DataDir::ReadInstance() {
  const std::string file = path_ + "/instance";
  instance_.record = path_ + "/cgroups";
  // Made by whoever comes first, also of two that start at once; both read what it is.
  if (access(file.c_str(), F_OK) != 0) NURSERY_RETURN_IF_ERROR(MakeWhole(file, NewId() + "\n"));
  std::ifstream(file) >> instance_.id;
  if (instance_.id.size() == size_t{8} * kIdWords) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, file + " is damaged: remove it when no server runs");
}

absl::Status DataDir::LetOthersThrough() const {
  struct stat status;
  if (stat(path_.c_str(), &status) == 0 &&
      chmod(path_.c_str(), (status.st_mode & 07777) | 0011) == 0 &&
      chmod(scratch().c_str(), 0711) == 0) {
    return absl::OkStatus();
  }
  return ErrnoError(errno, "cannot open " + path_ + " to the accounts of exec.users");
}

std::string DataDir::OpenToOthers() const {
  struct stat found;
  if (stat(path_.c_str(), &found) != 0 || (found.st_mode & 0006) == 0) return "";
  const char* what = (found.st_mode & 0002) != 0 ? "change" : "list";
  return std::string("every account can ") + what + " what is in the data directory: chmod o-rw " +
         path_;
}

DataDir::~DataDir() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace nursery::app
