// Cgroups of version 2: where this process may have some, and making, killing and removing them.
//
// A cgroup that was killed once is never used again: on newer kernels what is cloned from or into
// one dies at birth.
//
// Thread safety: system calls and pure functions.
#ifndef NURSERY_SERVER_WARDEN_CGROUP_H_
#define NURSERY_SERVER_WARDEN_CGROUP_H_

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "server/warden/unique_fd.h"

namespace nursery::warden {

// A directory, or why there is none.
struct CgroupPlace {
  std::string directory;
  std::string why_not;
};

// The directory of the cgroup of a process, from its /proc/PID/mountinfo and /proc/PID/cgroup. The
// hierarchy of version 2 may be mounted anywhere, beside others, in part, or not at all.
CgroupPlace FindCgroup(std::string_view mountinfo, std::string_view cgroup);

// How a process comes into its cgroup.
enum class Join : unsigned char {
  kClone,  // it is born there
  kWrite,  // it writes itself into it before it becomes the program
};

class Cgroup {
 public:
  Cgroup() = default;  // none

  // Makes a directory below an open one; none, and errno, if that fails: EEXIST also when it is
  // there already.
  static Cgroup Make(int parent, const std::string& name);
  // None, and errno, if it cannot be opened or is no cgroup.
  static Cgroup Open(const std::string& path);

  bool valid() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }

  // Writes to one of its files; false, and errno, if that fails.
  bool Write(const char* file, std::string_view text) const;
  // The whole of one of its files; empty if it cannot be read.
  std::string Read(const char* file) const;
  // SIGKILL to all in it and below, also to what forks meanwhile.
  bool Kill() const { return Write("cgroup.kill", "1"); }
  // Whether a process in it or below is alive. False if it is gone.
  bool populated() const;
  // The names of those directly below it.
  std::vector<std::string> children() const;
  // In it, not below.
  std::vector<pid_t> processes() const;
  // A child of the calling process that is born in it; as fork otherwise.
  pid_t Fork() const;
  // Hands on the controllers that it has, of those that bound attempts, to what is made below it.
  // Those that cannot be are left out.
  void DelegateControllers() const;
  // Whether what is made below it has `controller`.
  bool HandsOn(const std::string& controller) const;

 private:
  explicit Cgroup(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

// Moves the calling process into an open cgroup; false, and errno, if it cannot. -1: it is where it
// belongs.
bool EnterCgroup(int fd);

// Removes a directory and all below it; false if something is left, because processes are in it.
// One that is not there counts as removed.
bool RemoveCgroup(int parent, const std::string& name);
bool RemoveCgroup(const std::string& path);

// The name of an attempt's cgroup below that of its warden.
std::string LeafName(unsigned long long attempt);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_CGROUP_H_
