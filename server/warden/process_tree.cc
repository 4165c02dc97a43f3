#include "server/warden/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_set>

#include "server/warden/memory_files.h"
#include "server/warden/pidfd.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {
namespace {

using Visitor = std::function<void(const ProcessInfo&)>;
using Skip = std::function<bool(pid_t)>;

constexpr size_t kMaxCommandLine = 4096;
// A name is no reason to wait for long.
constexpr size_t kMaxHanging = 2;

// Calls `f` for each entry of a /proc directory that is a number.
template <typename F>
void ForEachNumber(const std::string& directory, F f) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return;
  while (const dirent* entry = readdir(dir.get())) {
    char* end;
    const long number = std::strtol(entry->d_name, &end, 10);
    if (number > 0 && *end == '\0') f(static_cast<pid_t>(number));
  }
}

// The kernel can list children itself only where it was built with CONFIG_PROC_CHILDREN.
bool ListsChildren(pid_t root, const std::string& proc) {
  const std::string pid = std::to_string(root);
  return access((proc + "/" + pid + "/task/" + pid + "/children").c_str(), R_OK) == 0;
}

std::vector<pid_t> ChildrenOf(pid_t pid, const std::string& proc) {
  std::vector<pid_t> children;
  const std::string tasks = proc + "/" + std::to_string(pid) + "/task";
  ForEachNumber(tasks, [&](pid_t thread) {
    const std::string text =
        ReadSmallFile(tasks + "/" + std::to_string(thread) + "/children", size_t{1} << 20);
    const char* next = text.c_str();
    char* end;
    for (long child; (child = std::strtol(next, &end, 10)) > 0 && end != next; next = end) {
      children.push_back(static_cast<pid_t>(child));
    }
  });
  return children;
}

void VisitByChildrenFiles(pid_t root, const Visitor& visit, const Skip& skip,
                          const std::string& proc) {
  std::vector<pid_t> parents = {root};
  std::unordered_set<pid_t> seen = {root};
  while (!parents.empty()) {
    const pid_t parent = parents.back();
    parents.pop_back();
    for (const pid_t child : ChildrenOf(parent, proc)) {
      if (parent == root && skip && skip(child)) continue;
      const std::optional<ProcessInfo> process = ReadProcess(child, proc);
      if (!process || !seen.insert(child).second) continue;
      visit(*process);
      parents.push_back(child);
    }
  }
}

// /proc lists pids in ascending order and parents are mostly older than their children. Where pids
// have wrapped around, the next round finds the child: by then its parent is dead and it is ours.
void VisitByParents(pid_t root, const Visitor& visit, const Skip& skip, const std::string& proc) {
  std::unordered_set<pid_t> tree = {root};
  ForEachNumber(proc, [&](pid_t pid) {
    const std::optional<ProcessInfo> process = ReadProcess(pid, proc);
    if (!process || !tree.contains(process->parent)) return;
    if (process->parent == root && skip && skip(pid)) return;
    tree.insert(pid);
    visit(*process);
  });
}

}  // namespace

std::string ReadSmallFile(const std::string& path, size_t limit) {
  std::string text;
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return text;
  char buffer[4096];
  while (text.size() < limit) {
    const ssize_t size = read(fd.get(), buffer, std::min(sizeof(buffer), limit - text.size()));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

std::vector<pid_t> NumbersIn(const std::string& directory) {
  std::vector<pid_t> numbers;
  ForEachNumber(directory, [&](pid_t number) { numbers.push_back(number); });
  return numbers;
}

std::optional<ProcessInfo> ReadProcess(pid_t pid, const std::string& proc) {
  const std::string text = ReadSmallFile(proc + "/" + std::to_string(pid) + "/stat", 4096);
  // pid (name) state ppid pgrp ...; the name may hold spaces and brackets itself.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  ProcessInfo process;
  int threads;
  unsigned long long start_time;
  // Fields 3 to 6, 20 and 22.
  if (std::sscanf(text.c_str() + close + 1,
                  " %c %d %d %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d %*s %llu",
                  &process.state, &process.parent, &process.group, &process.session, &threads,
                  &start_time) != 6) {
    return std::nullopt;
  }
  // A process whose first thread has ended looks like a zombie while its other threads run.
  process.dead = (process.state == 'Z' || process.state == 'X') && threads <= 1;
  process.pid = pid;
  process.start_time = start_time;
  process.name = text.substr(open + 1, close - open - 1);
  return process;
}

std::vector<std::string> CommandLines(const std::vector<ProcessInfo>& processes) {
  std::vector<std::string> lines;
  std::vector<std::string> files;
  for (const ProcessInfo& process : processes) {
    lines.push_back("[" + process.name + "]");
    files.push_back("/proc/" + std::to_string(process.pid) + "/cmdline");
  }
  ReadMemoryFiles(files, kMaxCommandLine, kMaxHanging, [&](size_t i, std::string text) {
    while (!text.empty() && text.back() == '\0') text.pop_back();
    std::replace(text.begin(), text.end(), '\0', ' ');
    if (!text.empty()) lines[i] = std::move(text);
  });
  return lines;
}

std::string StateName(char state) {
  const char* name = "?";
  switch (state) {
    case 'R':
      name = "running";
      break;
    case 'S':
      name = "sleeping";
      break;
    case 'D':
      name = "disk sleep";
      break;
    case 'T':
      name = "stopped";
      break;
    case 't':
      name = "traced";
      break;
    case 'Z':
      name = "zombie";
      break;
    default:
      break;
  }
  return std::string(1, state) + " (" + name + ")";
}

void VisitDescendants(pid_t root, const Visitor& visit, const Skip& skip, const std::string& proc) {
  if (ListsChildren(root, proc)) {
    VisitByChildrenFiles(root, visit, skip, proc);
  } else {
    VisitByParents(root, visit, skip, proc);
  }
}

std::vector<ProcessInfo> LiveDescendants(pid_t root, const Skip& skip) {
  std::vector<ProcessInfo> live;
  const auto add = [&live](const ProcessInfo& process) {
    if (!process.dead) live.push_back(process);
  };
  VisitDescendants(root, add, skip);
  return live;
}

void VisitProcesses(const Visitor& visit) {
  ForEachNumber("/proc", [&](pid_t pid) {
    const std::optional<ProcessInfo> process = ReadProcess(pid);
    if (process) visit(*process);
  });
}

void SignalProcess(const ProcessInfo& process, int signal) {
  const UniqueFd pidfd = OpenPidfd(process.pid);
  if (!pidfd.valid()) return;
  // The descriptor holds on to whoever has the pid now; from here on that cannot change.
  const std::optional<ProcessInfo> now = ReadProcess(process.pid);
  if (!now || now->start_time != process.start_time) return;
  SignalPidfd(pidfd.get(), signal);
}

size_t KillDescendants(const Skip& skip) {
  size_t found = 0;
  const auto stop = [](const ProcessInfo& process) {
    if (!process.dead) SignalProcess(process, SIGSTOP);
  };
  const auto kill = [&found](const ProcessInfo& process) {
    if (process.dead) return;
    ++found;
    SignalProcess(process, SIGKILL);
  };
  VisitDescendants(getpid(), stop, skip);
  VisitDescendants(getpid(), kill, skip);
  return found;
}

std::vector<ProcessInfo> LiveSession(pid_t session) {
  std::vector<ProcessInfo> live;
  VisitProcesses([&](const ProcessInfo& process) {
    if (process.session == session && !process.dead) live.push_back(process);
  });
  return live;
}

size_t KillSession(pid_t session) {
  const std::vector<ProcessInfo> live = LiveSession(session);
  for (const ProcessInfo& process : live) SignalProcess(process, SIGKILL);
  return live.size();
}

std::chrono::milliseconds TimeToNextRound(std::chrono::nanoseconds elapsed) {
  using std::chrono::milliseconds;
  const auto quarter = std::chrono::duration_cast<milliseconds>(elapsed / 4);
  return std::clamp(quarter, milliseconds(1), milliseconds(500));
}

}  // namespace nursery::warden
