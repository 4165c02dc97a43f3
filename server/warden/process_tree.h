// What is below a process: finding, signalling and naming its descendants through /proc.
//
// A scan is a walk over something that changes. What it finds may be dead already and what forked
// behind its back is missed; so callers repeat until the kernel itself says that they have no child
// left (ECHILD), which for a subreaper means no descendant.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_WARDEN_PROCESS_TREE_H_
#define NURSERY_SERVER_WARDEN_PROCESS_TREE_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nursery::warden {

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';         // as in ps: R, S, D, T, Z, ...
  bool dead = false;        // only its exit status is left
  uint64_t start_time = 0;  // in clock ticks since boot; with the pid it names a process for good
  std::string name;
};

// The whole of a small file, at most `limit` bytes; empty if it cannot be read.
std::string ReadSmallFile(const std::string& path, size_t limit);

// The entries of a directory of /proc that are numbers: processes or threads.
std::vector<pid_t> NumbersIn(const std::string& directory);

// nullopt if there is no such process (any more).
std::optional<ProcessInfo> ReadProcess(pid_t pid, const std::string& proc = "/proc");

// Of each its arguments joined by spaces; its name in brackets if it has none, as ps shows it, or
// if they cannot be read without waiting (memory_files.h).
std::vector<std::string> CommandLines(const std::vector<ProcessInfo>& processes);

// The letter and what it means, as in "D (disk sleep)".
std::string StateName(char state);

// Calls `visit` for every descendant of `root`, dead ones included, parents before their children;
// a parent's children are listed after `visit` returned for it, so that stopping or killing it
// there leaves nothing to miss. A direct child for which `skip` is true is left out with all below
// it.
void VisitDescendants(pid_t root, const std::function<void(const ProcessInfo&)>& visit,
                      const std::function<bool(pid_t)>& skip = nullptr,
                      const std::string& proc = "/proc");

// Every descendant of `root` that is not dead.
std::vector<ProcessInfo> LiveDescendants(pid_t root,
                                         const std::function<bool(pid_t)>& skip = nullptr);

// Calls `visit` for every process of the machine that can be seen, dead ones included.
void VisitProcesses(const std::function<void(const ProcessInfo&)>& visit);

// Sends `signal` to `process` and to no other that took over its pid meanwhile.
void SignalProcess(const ProcessInfo& process, int signal);

// One round against everything below the calling process: stops all, so that the tree holds still,
// then kills all. Gives the number of live processes it found.
size_t KillDescendants(const std::function<bool(pid_t)>& skip = nullptr);

// The live processes of a session.
std::vector<ProcessInfo> LiveSession(pid_t session);
// One round of SIGKILL against them. Gives the number found; none for -1.
size_t KillSession(pid_t session);

// How long to wait for a child's death before the next round, when killing goes on for `elapsed`: a
// process that forked away from a round is found soon, one that hangs in the kernel costs little.
std::chrono::milliseconds TimeToNextRound(std::chrono::nanoseconds elapsed);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_PROCESS_TREE_H_
