#include "server/warden/enclosure.h"

#include <unistd.h>

#include <csignal>

namespace nursery::warden {

bool Enclosure::Prepare(uint64_t attempt) {
  if (containment_.level != Level::kCgroup) return true;
  leaf_name_ = LeafName(attempt);
  leaf_ = Cgroup::Make(containment_.cgroup, leaf_name_);
  return leaf_.valid();
}

bool Enclosure::SetLimits(const TreeLimits& limits) const {
  return !leaf_.valid() || SetTreeLimits(leaf_, limits, containment_.held);
}

pid_t Enclosure::Fork() {
  const pid_t pid = leaf_.valid() && containment_.join == Join::kClone ? leaf_.Fork() : fork();
  if (pid > 0) session_ = pid;
  return pid;
}

int Enclosure::to_enter() const { return containment_.join == Join::kWrite ? leaf_.fd() : -1; }

std::vector<ProcessInfo> Enclosure::Live() const {
  return containment_.level == Level::kGroup ? LiveSession(session_) : LiveDescendants(getpid());
}

bool Enclosure::KillAtOnce(pid_t leader) const {
  if (leaf_.valid()) return leaf_.populated() && leaf_.Kill();
  return leader > 0 && kill(-leader, SIGKILL) == 0;
}

size_t Enclosure::KillRound() const {
  if (containment_.level == Level::kGroup) return KillSession(session_);
  // The leaf first, which holds whoever forks away from a scan; the scan is for those who left it.
  const bool in_leaf = leaf_.valid() && leaf_.populated() && leaf_.Kill();
  const size_t found = KillDescendants();
  return found == 0 && in_leaf ? 1 : found;
}

bool Enclosure::OthersAlive() const {
  if (containment_.level == Level::kGroup) return !LiveSession(session_).empty();
  return leaf_.valid() && leaf_.populated();
}

std::vector<ProcessInfo> Enclosure::Escaped(const std::string& mark) const {
  std::vector<ProcessInfo> escaped;
  if (containment_.level != Level::kGroup || mark.empty()) return escaped;
  VisitProcesses([&](const ProcessInfo& process) {
    if (!process.dead && HasEnvironment(process, mark, /*whole=*/true)) escaped.push_back(process);
  });
  return escaped;
}

MemoryFacts Enclosure::Memory() const {
  return Contains(containment_.held, TreeLimit::kMemory) ? ReadMemoryFacts(leaf_) : MemoryFacts();
}

void Enclosure::Remove() {
  if (!leaf_.valid()) return;
  leaf_ = Cgroup();
  RemoveCgroup(containment_.cgroup, leaf_name_);
}

}  // namespace nursery::warden
