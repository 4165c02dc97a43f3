#include "server/warden/marks.h"

#include <algorithm>
#include <cstdlib>

#include "server/warden/memory_files.h"
#include "server/warden/protocol.h"

namespace nursery::warden {
namespace {

// More than the kernel lets a program be started with.
constexpr size_t kMaxEnvironment = size_t{8} << 20;
constexpr size_t kMaxHanging = 20;

void AddMarksIn(std::string_view environment, std::vector<std::string>* marks) {
  while (!environment.empty()) {
    const size_t end = std::min(environment.find('\0'), environment.size());
    for (std::string& mark : MarksIn(environment.substr(0, end))) {
      marks->push_back(std::move(mark));
    }
    environment.remove_prefix(std::min(end + 1, environment.size()));
  }
}

}  // namespace

std::string MakeMark(const std::string& instance, uint64_t attempt) {
  return instance + std::to_string(attempt);
}

std::optional<uint64_t> AttemptIn(const std::vector<std::string>& marks,
                                  const std::string& instance) {
  std::optional<uint64_t> attempt;
  for (const std::string& mark : marks) {
    if (!mark.starts_with(instance)) continue;
    attempt = std::strtoull(mark.c_str() + instance.size(), nullptr, 10);
  }
  return attempt;
}

// One variable holds them all: a shell keeps but one of each name.
void AddMark(const std::string& mark, std::vector<std::string>* environment) {
  std::string entry(kMarkVariable);
  for (const std::string& each : *environment) {
    for (const std::string& outer : MarksIn(each)) entry += outer + " ";
  }
  std::erase_if(*environment,
                [](const std::string& each) { return each.starts_with(kMarkVariable); });
  environment->push_back(entry + mark);
}

std::vector<std::string> MarksIn(std::string_view entry) {
  std::vector<std::string> marks;
  if (!entry.starts_with(kMarkVariable)) return marks;
  entry.remove_prefix(kMarkVariable.size());
  while (!entry.empty()) {
    const size_t end = std::min(entry.find(' '), entry.size());
    if (end > 0) marks.emplace_back(entry.substr(0, end));
    entry.remove_prefix(std::min(end + 1, entry.size()));
  }
  return marks;
}

std::vector<std::vector<std::string>> MarksOf(const std::vector<ProcessInfo>& processes) {
  std::vector<std::vector<std::string>> marks(processes.size());
  std::vector<std::string> files;
  for (const ProcessInfo& process : processes) {
    files.push_back("/proc/" + std::to_string(process.pid) + "/environ");
  }
  std::vector<size_t> empty;
  ReadMemoryFiles(files, kMaxEnvironment, kMaxHanging,
                  [&](size_t i, const std::string& environment) {
                    AddMarksIn(environment, &marks[i]);
                    if (environment.empty()) empty.push_back(i);
                  });
  // A first thread that has ended shows none, the others still do.
  files.clear();
  std::vector<size_t> owners;
  for (const size_t i : empty) {
    const std::string tasks = "/proc/" + std::to_string(processes[i].pid) + "/task";
    for (const pid_t thread : NumbersIn(tasks)) {
      if (thread == processes[i].pid) continue;
      files.push_back(tasks + "/" + std::to_string(thread) + "/environ");
      owners.push_back(i);
    }
  }
  ReadMemoryFiles(files, kMaxEnvironment, kMaxHanging,
                  [&](size_t file, const std::string& environment) {
                    if (marks[owners[file]].empty()) AddMarksIn(environment, &marks[owners[file]]);
                  });
  return marks;
}

std::vector<ProcessInfo> MarkedAmong(const std::vector<ProcessInfo>& processes,
                                     const std::string& mark) {
  std::vector<ProcessInfo> marked;
  const std::vector<std::vector<std::string>> marks = MarksOf(processes);
  for (size_t i = 0; i < processes.size(); ++i) {
    if (std::find(marks[i].begin(), marks[i].end(), mark) == marks[i].end()) continue;
    marked.push_back(processes[i]);
  }
  return marked;
}

std::map<uint64_t, std::vector<ProcessInfo>> ProcessesByAttempt(const std::string& instance) {
  std::map<uint64_t, std::vector<ProcessInfo>> processes;
  std::vector<ProcessInfo> live;
  VisitProcesses([&](const ProcessInfo& process) {
    if (!process.dead) live.push_back(process);
  });
  const std::vector<std::vector<std::string>> marks = MarksOf(live);
  for (size_t i = 0; i < live.size(); ++i) {
    const std::optional<uint64_t> attempt = AttemptIn(marks[i], instance);
    if (attempt) processes[*attempt].push_back(live[i]);
  }
  return processes;
}

}  // namespace nursery::warden
