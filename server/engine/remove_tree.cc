#include "server/engine/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string_view>

namespace nursery::engine {
namespace {

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

constexpr uint64_t kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// Never what is mounted there: it is not of the tree.
int OpenBelow(int parent, const char* name) {
  open_how how = {};
  how.flags = kFlags;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  return static_cast<int>(syscall(SYS_openat2, parent, name, &how, sizeof how));
}

Directory Open(int parent, const char* name) {
  const int fd =
      parent == AT_FDCWD ? open(name, static_cast<int>(kFlags)) : OpenBelow(parent, name);
  Directory directory(fd < 0 ? nullptr : fdopendir(fd), closedir);
  if (directory == nullptr && fd >= 0) close(fd);
  return directory;
}

// After EACCES, which root does not get: as somebody else, only what is his own is changed. Not
// what is mounted there.
bool Permit(int parent, const char* name) {
  if (errno != EACCES) return false;
  struct statx found = {};
  return statx(parent, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &found) == 0 &&
         S_ISDIR(found.stx_mode) && (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0 &&
         fchmodat(parent, name, 0700, 0) == 0;
}

// With all rights, which moving what is in it takes, too.
Directory OpenToEmpty(int parent, const char* name) {
  Directory directory = Open(parent, name);
  if (directory == nullptr && Permit(parent, name)) directory = Open(parent, name);
  if (directory != nullptr) fchmod(dirfd(directory.get()), 0700);
  return directory;
}

// Of a file, a link or an empty directory.
bool Remove(int parent, const char* name) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return true;
  return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

class TreeRemover {
 public:
  TreeRemover(DIR* root, Time until) : root_(root), until_(until), next_name_(Chance()) {}

  // False if something is left.
  bool Run() {
    Pass pass;
    do {
      rewinddir(root_);
      // It may not see what is handed up meanwhile: the next one does.
      pass = ForEach(root_, [this](const char* name) { return Take(name); });
    } while (pass.taken > 0 && !late());
    return pass.taken + pass.left == 0;
  }

 private:
  // Names are chosen by chance, so that those of the tree are not met.
  static uint64_t Chance() {
    std::random_device chance;
    return uint64_t{chance()} << 32 | chance();
  }

  bool late() const { return until_ != kNever && Clock::Steady().Now() >= until_; }

  struct Pass {
    size_t taken = 0;
    size_t left = 0;
  };

  // Calls `take` for each entry until it is late.
  template <typename F>
  Pass ForEach(DIR* directory, F take) const {
    Pass pass;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      ++(!late() && take(entry->d_name) ? pass.taken : pass.left);
    }
    return pass;
  }

  // An entry of the root.
  bool Take(const char* name) {
    const int root = dirfd(root_);
    if (Remove(root, name)) return true;
    const Directory directory = OpenToEmpty(root, name);
    if (directory == nullptr) return false;
    const int fd = dirfd(directory.get());
    ForEach(directory.get(),
            [this, fd](const char* below) { return Remove(fd, below) || HandUp(fd, below); });
    return unlinkat(root, name, AT_REMOVEDIR) == 0;
  }

  bool HandUp(int parent, const char* name) {
    const std::string new_name = std::to_string(next_name_++);
    if (renameat(parent, name, dirfd(root_), new_name.c_str()) == 0) return true;
    return Permit(parent, name) && renameat(parent, name, dirfd(root_), new_name.c_str()) == 0;
  }

  DIR* const root_;
  const Time until_;
  uint64_t next_name_;
};

}  // namespace

bool RemoveTree(const std::string& path, Time until) {
  if (Remove(AT_FDCWD, path.c_str())) return true;
  const Directory root = OpenToEmpty(AT_FDCWD, path.c_str());
  return root != nullptr && TreeRemover(root.get(), until).Run() && Remove(AT_FDCWD, path.c_str());
}

}  // namespace nursery::engine
