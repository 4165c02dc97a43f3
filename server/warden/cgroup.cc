#include "server/warden/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>

namespace nursery::warden {
namespace {

constexpr mode_t kMode = 0755;

// Takes what stands before `separator` off `text`, and the separator.
std::string_view Take(std::string_view* text, std::string_view separator) {
  const size_t end = text->find(separator);
  const std::string_view taken = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + separator.size());
  return taken;
}

// mountinfo writes spaces and the like as \040.
std::string Unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && text.size() - i > 3) {
      plain +=
          static_cast<char>(std::strtol(std::string(text.substr(i + 1, 3)).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct Mount {
  std::string root;   // the directory of the hierarchy that is mounted
  std::string point;  // and where
};

std::vector<Mount> MountsOf(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  while (!mountinfo.empty()) {
    std::string_view line = Take(&mountinfo, "\n");
    for (int i = 0; i < 3; ++i) Take(&line, " ");
    const std::string_view root = Take(&line, " ");
    const std::string_view point = Take(&line, " ");
    Take(&line, " - ");
    if (Take(&line, " ") == "cgroup2") mounts.push_back({Unescaped(root), Unescaped(point)});
  }
  return mounts;
}

// Of version 2: the line without controllers.
std::string PathOf(std::string_view cgroup) {
  while (!cgroup.empty()) {
    std::string_view line = Take(&cgroup, "\n");
    if (line.starts_with("0::")) return std::string(line.substr(3));
  }
  return "";
}

bool IsCgroup(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC;
}

UniqueFd OpenDirectory(int parent, const char* name) {
  return UniqueFd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

// Of a line of words: not "cpuset" for "cpu".
bool HasWord(std::string_view line, std::string_view word) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  while (!line.empty()) {
    if (Take(&line, " ") == word) return true;
  }
  return false;
}

std::vector<std::string> Directories(int fd) {
  std::vector<std::string> names;
  UniqueFd copy = OpenDirectory(fd, ".");
  DIR* const opened = copy.valid() ? fdopendir(copy.get()) : nullptr;
  if (opened == nullptr) return names;
  [[maybe_unused]] const int owned = copy.release();
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opened, closedir);
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.push_back(name);
  }
  return names;
}

}  // namespace

CgroupPlace FindCgroup(std::string_view mountinfo, std::string_view cgroup) {
  const std::string path = PathOf(cgroup);
  if (path.empty() || path[0] != '/') return {"", "this process is in no cgroup of version 2"};
  // Outside of the namespace of this process.
  if (path.starts_with("/..")) return {"", "its cgroup is out of sight here"};
  for (const Mount& mount : MountsOf(mountinfo)) {
    const std::string root = mount.root == "/" ? "" : mount.root;
    if (!path.starts_with(root)) continue;
    const std::string below = path.substr(root.size());
    if (!below.empty() && below[0] != '/') continue;
    return {mount.point + (below == "/" ? "" : below), ""};
  }
  return {"", "no mount of cgroup version 2 shows its cgroup"};
}

Cgroup Cgroup::Make(int parent, const std::string& name) {
  if (mkdirat(parent, name.c_str(), kMode) != 0) return {};
  return Cgroup(OpenDirectory(parent, name.c_str()));
}

Cgroup Cgroup::Open(const std::string& path) {
  UniqueFd fd = OpenDirectory(AT_FDCWD, path.c_str());
  if (!fd.valid()) return {};
  if (IsCgroup(fd.get())) return Cgroup(std::move(fd));
  errno = ENOTSUP;
  return {};
}

bool Cgroup::Write(const char* file, std::string_view text) const {
  const UniqueFd fd(openat(fd_.get(), file, O_WRONLY | O_CLOEXEC));
  return fd.valid() &&
         write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string Cgroup::Read(const char* file) const {
  std::string text;
  const UniqueFd fd(openat(fd_.get(), file, O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  ssize_t size;
  while (fd.valid() && (size = read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

bool Cgroup::populated() const {
  constexpr std::string_view kPopulated = "populated 1";
  char text[kPopulated.size()];
  const UniqueFd fd(openat(fd_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  return fd.valid() && read(fd.get(), text, sizeof text) == sizeof text &&
         std::string_view(text, sizeof text) == kPopulated;
}

std::vector<std::string> Cgroup::children() const { return Directories(fd_.get()); }

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> pids;
  const std::string text = Read("cgroup.procs");
  const char* next = text.c_str();
  char* end;
  for (long pid; (pid = std::strtol(next, &end, 10)) > 0 && end != next; next = end) {
    pids.push_back(static_cast<pid_t>(pid));
  }
  return pids;
}

pid_t Cgroup::Fork() const {
  clone_args arguments = {};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<unsigned long long>(fd_.get());
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

void Cgroup::DelegateControllers() const {
  const std::string available = Read("cgroup.controllers");
  for (const char* controller : {"memory", "pids", "cpu"}) {
    if (HasWord(available, controller)) {
      Write("cgroup.subtree_control", std::string("+") + controller);
    }
  }
}

bool Cgroup::HandsOn(const std::string& controller) const {
  return HasWord(Read("cgroup.subtree_control"), controller);
}

bool EnterCgroup(int fd) {
  if (fd < 0) return true;
  const UniqueFd file(openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC));
  return file.valid() && write(file.get(), "0", 1) == 1;
}

bool RemoveCgroup(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
  // The kernel says EBUSY for directories below it, too: a process may have made some.
  const UniqueFd fd = OpenDirectory(parent, name.c_str());
  if (!fd.valid()) return errno == ENOENT;
  for (const std::string& each : Directories(fd.get())) RemoveCgroup(fd.get(), each);
  return unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
}

bool RemoveCgroup(const std::string& path) { return RemoveCgroup(AT_FDCWD, path); }

std::string LeafName(unsigned long long attempt) { return "attempt-" + std::to_string(attempt); }

}  // namespace nursery::warden
