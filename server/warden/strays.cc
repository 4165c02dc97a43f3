#include "server/warden/strays.h"

#include <unistd.h>

#include "server/warden/marks.h"

namespace nursery::warden {

std::vector<Stray> FindStrays(const std::string& instance,
                              const std::unordered_map<pid_t, uint64_t>& sessions,
                              const std::function<bool(pid_t)>& skip) {
  std::vector<ProcessInfo> processes;
  VisitDescendants(
      getpid(), [&](const ProcessInfo& process) { processes.push_back(process); }, skip);
  std::vector<Stray> strays;
  for (const ProcessInfo& process : processes) strays.push_back({process, std::nullopt});
  if (instance.empty()) return strays;
  const std::vector<std::vector<std::string>> marks = MarksOf(processes);
  std::unordered_map<pid_t, uint64_t> attempts;
  for (size_t i = 0; i < strays.size(); ++i) {
    std::optional<uint64_t>& attempt = strays[i].attempt;
    attempt = AttemptIn(marks[i], instance);
    const auto parent = attempts.find(processes[i].parent);
    if (!attempt && parent != attempts.end()) attempt = parent->second;
    const auto session = sessions.find(processes[i].session);
    if (!attempt && session != sessions.end()) attempt = session->second;
    if (attempt) attempts.emplace(processes[i].pid, *attempt);
  }
  return strays;
}

bool MayBeLeft(uint64_t attempt, const std::vector<Stray>& strays,
               std::vector<ProcessInfo>* alive) {
  bool left = false;
  for (const Stray& stray : strays) {
    if (stray.attempt.value_or(attempt) != attempt) continue;
    left = true;
    if (!stray.process.dead) alive->push_back(stray.process);
  }
  return left;
}

std::vector<ProcessInfo> GroupView::Session(pid_t leader) {
  if (!sessions_) {
    sessions_.emplace();
    VisitProcesses([&](const ProcessInfo& process) {
      if (!process.dead) (*sessions_)[process.session].push_back(process);
    });
  }
  const auto found = sessions_->find(leader);
  return found == sessions_->end() ? std::vector<ProcessInfo>() : found->second;
}

std::vector<ProcessInfo> GroupView::Marked(uint64_t attempt) {
  if (!marked_) marked_ = ProcessesByAttempt(instance_);
  const auto found = marked_->find(attempt);
  return found == marked_->end() ? std::vector<ProcessInfo>() : found->second;
}

}  // namespace nursery::warden
