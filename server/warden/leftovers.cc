#include "server/warden/leftovers.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <set>

#include "nursery/core/status.h"
#include "server/warden/cgroup.h"
#include "server/warden/marks.h"
#include "server/warden/pidfd.h"
#include "server/warden/process_tree.h"
#include "server/warden/protocol.h"
#include "server/warden/run_cgroup.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxNamed = 20;
// Scans that find nobody: who forks behind the back of one is mostly seen by the next.
constexpr int kEmptyRounds = 2;

std::vector<std::string> NotedCgroups(const std::string& record) {
  std::vector<std::string> paths;
  std::ifstream stream(record);
  for (std::string path; std::getline(stream, path);) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (name.starts_with(kRunPrefix)) paths.push_back(path);
  }
  return paths;
}

// This process and those above it, which a server may have been started by.
std::set<pid_t> OwnLine() {
  std::set<pid_t> line;
  for (pid_t pid = getpid(); pid > 0 && line.insert(pid).second;) {
    const std::optional<ProcessInfo> process = ReadProcess(pid);
    pid = process ? process->parent : 0;
  }
  return line;
}

void AddMembers(const std::string& path, std::vector<ProcessInfo>* members) {
  const Cgroup cgroup = Cgroup::Open(path);
  if (!cgroup.valid()) return;
  for (const std::string& below : cgroup.children()) {
    AddMembers(std::string(path).append("/").append(below), members);
  }
  for (const pid_t pid : cgroup.processes()) {
    const std::optional<ProcessInfo> process = ReadProcess(pid);
    if (process) members->push_back(*process);
  }
}

std::vector<ProcessInfo> Marked(const Instance& instance) {
  std::vector<ProcessInfo> marked;
  if (instance.id.empty()) return marked;
  const std::set<pid_t> line = OwnLine();
  for (auto& [attempt, processes] : ProcessesByAttempt(instance.id + ":")) {
    for (ProcessInfo& process : processes) {
      if (!line.contains(process.pid)) marked.push_back(std::move(process));
    }
  }
  return marked;
}

std::vector<ProcessInfo> Alive(const Instance& instance) {
  std::vector<ProcessInfo> alive = Marked(instance);
  for (const std::string& path : NotedCgroups(instance.record)) AddMembers(path, &alive);
  return alive;
}

bool HasEnded(const UniqueFd& pidfd) {
  pollfd end = {pidfd.get(), POLLIN, 0};
  return !pidfd.valid() || poll(&end, 1, 0) == 1;
}

// Until one of them is dead, or `longest` has passed.
void AwaitDeath(const std::vector<UniqueFd>& dying, const std::vector<ProcessInfo>& processes,
                std::chrono::milliseconds longest) {
  std::vector<UniqueFd> pidfds;
  std::vector<pollfd> ends;
  for (const UniqueFd& pidfd : dying) ends.push_back({pidfd.get(), POLLIN, 0});
  for (const ProcessInfo& process : processes) {
    pidfds.push_back(OpenPidfd(process.pid));
    ends.push_back({pidfds.back().get(), POLLIN, 0});
  }
  poll(ends.data(), ends.size(), static_cast<int>(longest.count()));
}

absl::Status StillAlive(const Instance& instance) {
  std::vector<std::string> alive = FindLeftovers(instance);
  std::string text = std::to_string(alive.size()) + " processes of an earlier start do not die";
  alive.resize(std::min(alive.size(), kMaxNamed));
  for (const std::string& each : alive) text += "; " + each;
  return Error(absl::StatusCode::kDeadlineExceeded, text);
}

}  // namespace

std::vector<std::string> FindLeftovers(const Instance& instance) {
  std::set<std::string> lines;
  const std::vector<ProcessInfo> alive = Alive(instance);
  const std::vector<std::string> commands = CommandLines(alive);
  for (size_t i = 0; i < alive.size(); ++i) {
    lines.insert(std::to_string(alive[i].pid) + " " + commands[i]);
  }
  return {lines.begin(), lines.end()};
}

absl::Status SweepLeftovers(const Instance& instance, std::chrono::milliseconds patience) {
  const Clock::time_point start = Clock::now();
  // A process that dies has no environment any more before it is dead.
  std::vector<UniqueFd> dying;
  for (int empty_rounds = 0; empty_rounds < kEmptyRounds;) {
    bool left = false;
    for (const std::string& path : NotedCgroups(instance.record)) {
      const Cgroup cgroup = Cgroup::Open(path);
      if (cgroup.valid()) cgroup.Kill();
      left |= !RemoveCgroup(path);
    }
    for (const ProcessInfo& process : Marked(instance)) {
      dying.push_back(OpenPidfd(process.pid));
      SignalProcess(process, SIGKILL);
      left = true;
    }
    std::erase_if(dying, [](const UniqueFd& pidfd) { return HasEnded(pidfd); });
    empty_rounds = left || !dying.empty() ? 0 : empty_rounds + 1;
    if (empty_rounds > 0) continue;
    if (Clock::now() - start > patience) return StillAlive(instance);
    AwaitDeath(dying, Alive(instance), TimeToNextRound(Clock::now() - start));
  }
  if (!instance.record.empty() && unlink(instance.record.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, "cannot remove " + instance.record);
  }
  return absl::OkStatus();
}

absl::Status NoteCgroup(const std::string& record, const std::string& path) {
  const std::string line = path + "\n";
  // Nobody else's: what it names is ended by the next start.
  const UniqueFd fd(open(record.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoError(errno, "cannot write " + record);
  errno = ENOSPC;  // what a disk gives that gets full in the middle, without an error
  const bool whole = write(fd.get(), line.data(), line.size()) == std::ssize(line);
  return whole ? absl::OkStatus() : ErrnoError(errno, "cannot write " + record);
}

}  // namespace nursery::warden
