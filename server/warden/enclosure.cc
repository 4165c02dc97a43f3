#include "server/warden/enclosure.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "server/warden/marks.h"

namespace nursery::warden {

bool Enclosure::Prepare(uint64_t attempt) {
  if (containment_.level != Level::kCgroup) return true;
  leaf_name_ = LeafName(attempt);
  leaf_ = Cgroup::Make(containment_.cgroup, leaf_name_);
  return leaf_.valid();
}

std::optional<TreeLimit> Enclosure::SetLimits(const TreeLimits& limits) const {
  return leaf_.valid() ? SetTreeLimits(leaf_, limits, containment_.held) : std::nullopt;
}

int Enclosure::birthplace() const { return containment_.join == Join::kClone ? leaf_.fd() : -1; }

pid_t Enclosure::Fork() const { return birthplace() >= 0 ? leaf_.Fork() : fork(); }

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

void Enclosure::SetLeader(pid_t leader) {
  session_ = leader;
  if (containment_.level != Level::kGroup) return;
  const std::optional<ProcessInfo> process = ReadProcess(leader);
  leader_start_ = process ? process->start_time : 0;
}

bool Enclosure::OthersAlive() {
  if (containment_.level == Level::kGroup) {
    bool alive = false;
    others_.clear();
    VisitProcesses([&](const ProcessInfo& process) {
      if (process.dead) return;
      alive |= process.session == session_;
      const bool may_have_left = process.start_time >= leader_start_;
      if (process.session != session_ && may_have_left) others_.push_back(process);
    });
    return alive;
  }
  if (!leaf_.valid()) return false;
  memory_ = ReadMemory();
  if (unlinkat(containment_.cgroup, leaf_name_.c_str(), AT_REMOVEDIR) != 0) {
    return leaf_.populated();  // or there are others below it
  }
  leaf_ = Cgroup();
  return false;
}

std::vector<ProcessInfo> Enclosure::Escaped(const std::string& mark) const {
  if (containment_.level != Level::kGroup || mark.empty()) return {};
  return MarkedAmong(others_, mark);
}

MemoryFacts Enclosure::ReadMemory() const {
  return Contains(containment_.held, TreeLimit::kMemory) ? ReadMemoryFacts(leaf_) : MemoryFacts();
}

void Enclosure::Remove() {
  if (!leaf_.valid()) return;
  leaf_ = Cgroup();
  RemoveCgroup(containment_.cgroup, leaf_name_);
}

}  // namespace nursery::warden
