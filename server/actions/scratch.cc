#include "server/actions/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "nursery/core/status.h"
#include "server/engine/remove_tree.h"
#include "server/warden/unique_fd.h"

namespace nursery::actions {
namespace {

// As mkdtemp has made it, as far as anybody can tell: empty, with the same owner, mode and
// attributes.
bool IsAsNew(const std::string& path) {
  const warden::UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat found = {};
  if (!fd.valid() || fstat(fd.get(), &found) != 0) return false;
  if (found.st_mode != (S_IFDIR | 0700)) return false;
  if (found.st_uid != geteuid() || found.st_gid != getegid()) return false;
  const ssize_t attributes = flistxattr(fd.get(), nullptr, 0);
  if (attributes > 0 || (attributes < 0 && errno != ENOTSUP)) return false;
  std::error_code error;
  return std::filesystem::is_empty(path, error) && !error;
}

}  // namespace

Scratch::~Scratch() {
  MutexLock lock(mutex_);
  for (const std::string& path : spare_) rmdir(path.c_str());
}

std::optional<std::string> Scratch::TakeSpare() {
  MutexLock lock(mutex_);
  if (spare_.empty()) return std::nullopt;
  std::string path = std::move(spare_.back());
  spare_.pop_back();
  return path;
}

absl::StatusOr<std::string> Scratch::Take() {
  while (std::optional<std::string> spare = TakeSpare()) {
    if (IsAsNew(*spare)) return *std::move(spare);
    // Somebody has been there meanwhile.
    Remove(*spare);
  }
  std::string pattern = parent_ + "/attempt-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return ErrnoError(errno, "cannot make a scratch directory in " + parent_);
  }
  return pattern;
}

bool Scratch::GiveBack(const std::string& path) {
  if (!IsAsNew(path)) return false;
  MutexLock lock(mutex_);
  if (spare_.size() >= kMaxSpare) return false;
  spare_.push_back(path);
  return true;
}

void Scratch::Remove(const std::string& path) {
  const Time until = Later(Clock::Steady().Now(), kMostRemoval);
  RemoveUntil(path, until);
  std::string earlier;
  {
    MutexLock lock(mutex_);
    // In turn: one that cannot be removed keeps no other from it.
    if (unfinished_.empty() || unfinished_.front() == path) return;
    earlier = std::move(unfinished_.front());
    unfinished_.pop_front();
  }
  RemoveUntil(earlier, until);
}

void Scratch::RemoveUntil(const std::string& path, Time until) {
  if (engine::RemoveTree(path, until)) return;
  MutexLock lock(mutex_);
  if (unfinished_.size() < kMaxUnfinished) unfinished_.push_back(path);
}

absl::Status ScratchDirectory::Make(Scratch* from, const std::optional<warden::Account>& owner) {
  absl::StatusOr<std::string> path = from->Take();
  if (!path.ok()) return path.status();
  from_ = from;
  path_ = *std::move(path);
  if (owner && chown(path_.c_str(), owner->user, owner->group) != 0) {
    return ErrnoError(errno, "cannot give away the scratch directory " + path_);
  }
  return absl::OkStatus();
}

bool ScratchDirectory::TryReuse() {
  if (path_.empty()) return true;
  if (!from_->GiveBack(path_)) return false;
  path_.clear();
  return true;
}

void ScratchDirectory::Remove() {
  if (!path_.empty()) from_->Remove(std::exchange(path_, ""));
}

ScratchDirectory::~ScratchDirectory() { Remove(); }

}  // namespace nursery::actions
