#include "server/warden/run_cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "nursery/core/status.h"

namespace nursery::warden {
namespace {

constexpr char kServerName[] = "server";
constexpr int kTries = 100;

std::string ReadText(const char* path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string BootId() { return ReadText("/proc/sys/kernel/random/boot_id").substr(0, 8); }

}  // namespace

CgroupPlace FindOwnCgroup() {
  CgroupPlace place = FindCgroup(ReadText("/proc/self/mountinfo"), ReadText("/proc/self/cgroup"));
  if (place.directory.empty()) return place;
  // A process is moved by its right to write where it comes from and where it goes.
  const std::string processes = place.directory + "/cgroup.procs";
  if (access(place.directory.c_str(), W_OK) == 0 && access(processes.c_str(), W_OK) == 0) {
    return place;
  }
  return {"", place.directory + ": " + std::strerror(errno)};
}

CgroupPlace MoveAside() {
  CgroupPlace place = FindOwnCgroup();
  if (place.directory.empty()) return place;
  const Cgroup own = Cgroup::Open(place.directory);
  // The root of the hierarchy, which alone has no events, may have processes and children.
  if (!own.valid() || own.Read("cgroup.events").empty()) return place;
  const std::vector<pid_t> processes = own.processes();
  if (processes.size() != 1 || processes.front() != getpid()) return place;
  // Not the one of a server before us, which may have been killed.
  RemoveCgroup(own.fd(), kServerName);
  Cgroup server = Cgroup::Make(own.fd(), kServerName);
  if (!server.valid()) server = Cgroup::Open(place.directory + "/" + kServerName);
  if (server.valid() && EnterCgroup(server.fd())) own.DelegateControllers();
  return place;
}

absl::StatusOr<std::string> MakeRunCgroup(const std::string& base) {
  const Cgroup parent = Cgroup::Open(base);
  if (!parent.valid()) return ErrnoError(errno, base);
  const std::string prefix =
      std::string(kRunPrefix) + BootId() + "-" + std::to_string(getpid()) + "-";
  std::random_device chance;
  for (int i = 0; i < kTries; ++i) {
    // Chance, because the name of one that is gone may still be on the way to be killed.
    const std::string name = std::string(prefix).append(std::to_string(chance()));
    const Cgroup run = Cgroup::Make(parent.fd(), name);
    if (run.valid()) {
      run.DelegateControllers();
      return std::string(base).append("/").append(name);
    }
    if (errno != EEXIST) break;
  }
  return ErrnoError(errno, "cannot make a cgroup below " + base);
}

}  // namespace nursery::warden
