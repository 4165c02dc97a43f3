// What a dead warden leaves: attempts whose reapers still kill, and such whose reapers were killed.
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "server/warden/process_host.h"
#include "server/warden/process_tree.h"
#include "server/warden/run_cgroup.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;

bool AtEndOfFile(int fd) {
  char ignored;
  return read(fd, &ignored, 1) == 0;
}

}  // namespace

void ProcessHost::ArmSweepLocked() {
  // As often as the newest needs it.
  const std::chrono::milliseconds delay = TimeToNextRound(Clock::now() - remains_.back().since);
  itimerspec time = {};
  time.it_value.tv_sec = delay.count() / 1000;
  time.it_value.tv_nsec = delay.count() % 1000 * 1'000'000;
  timerfd_settime(sweep_timer_.get(), 0, &time, nullptr);
}

void ProcessHost::SweepLocked(bool is_time, std::vector<Call>* calls) {
  bool reapers_live = false;
  for (Remains& remains : remains_) {
    if (remains.keepers.valid() && AtEndOfFile(remains.keepers.get())) {
      remains.keepers.reset();
      is_time = true;
    }
    reapers_live |= remains.keepers.valid();
  }
  if (remains_.empty() || !is_time) return;
  for (Remains& remains : remains_) remains.slow = Clock::now() - remains.since >= kSurvivorsAfter;
  for (Remains& remains : remains_) {
    for (Orphan& orphan : remains.orphans) LookAtReaperLocked(&orphan);
  }
  if (AdoptsLocked()) AbandonThoseWithoutReaperLocked();
  const bool in_cgroups = !reapers_live && KillCgroupsLocked();
  const std::vector<Stray> strays = KillStraysLocked(reapers_live);
  GroupView view(instance_);
  for (Remains& remains : remains_) {
    std::erase_if(remains.orphans, [&](Orphan& orphan) NURSERY_REQUIRES(mutex_) {
      if (!orphan.done && !IsOverLocked(remains, strays, &view, &orphan, calls)) return false;
      Survivors escaped;
      if (stats_.level == Level::kGroup) escaped = NameSurvivors(view.Marked(orphan.attempt));
      LoseLocked(orphan.handler, "interrupted: the warden process died; what it ran was killed",
                 std::move(escaped), calls);
      return true;
    });
  }
  const bool held = std::any_of(remains_.begin(), remains_.end(),
                                [](const Remains& each) { return !each.orphans.empty(); });
  if (!reapers_live && !in_cgroups && strays.empty() && !held) {
    remains_.clear();
  } else {
    ArmSweepLocked();
  }
}

// At the level `group` reapers are not our children, and nothing that they leave comes to us.
bool ProcessHost::AdoptsLocked() const {
  return options_.adopt_orphans && stats_.level != Level::kGroup;
}

// An attempt that was just being started has one that is not known, if any.
void ProcessHost::AbandonThoseWithoutReaperLocked() {
  std::unordered_set<pid_t> known = {warden_.pid};
  for (const Remains& remains : remains_) {
    for (const Orphan& orphan : remains.orphans) known.insert(orphan.reaper);
  }
  bool any_unknown = false;
  const auto look = [&](const ProcessInfo& process) NURSERY_REQUIRES(mutex_) {
    any_unknown |= process.parent == getpid() && !process.dead && IsReaperLocked(process);
  };
  VisitDescendants(getpid(), look, [&](pid_t pid) { return known.contains(pid); });
  if (any_unknown) return;
  for (Remains& remains : remains_) {
    for (Orphan& orphan : remains.orphans) orphan.abandoned |= orphan.reaper < 0 && !orphan.done;
  }
}

// Of a dead warden: tasks have sessions of their own, and nobody can enter that of another. Its
// number goes to nobody else as long as there are reapers.
bool ProcessHost::IsReaperLocked(const ProcessInfo& process) const {
  return std::any_of(remains_.begin(), remains_.end(), [&](const Remains& remains) {
    return remains.keepers.valid() && remains.warden == process.session;
  });
}

// One that ends by itself does so when nothing of its attempt is left.
void ProcessHost::LookAtReaperLocked(Orphan* orphan) const {
  if (orphan->reaper < 0) return;
  if (!AdoptsLocked()) {
    const std::optional<ProcessInfo> reaper = ReadProcess(orphan->reaper);
    const bool ended = !reaper || reaper->dead || !IsReaperLocked(*reaper);
    if (!ended) return;
    // Perhaps before its attempt.
    orphan->reaper = -1;
    orphan->abandoned = true;
    return;
  }
  int status = -1;
  if (waitpid(orphan->reaper, &status, WNOHANG) == 0) return;
  orphan->reaper = -1;
  orphan->done = status == 0;
  orphan->abandoned = !orphan->done;
}

bool ProcessHost::IsOverLocked(const Remains& remains, const std::vector<Stray>& strays,
                               GroupView* view, Orphan* orphan, std::vector<Call>* calls) {
  std::vector<ProcessInfo> alive;
  bool left = remains.keepers.valid() && !orphan->abandoned;
  if (left && orphan->reaper > 0 && remains.slow) {
    alive = LiveDescendants(orphan->reaper);
    const auto helps_it = [this](const ProcessInfo& process)
                              NURSERY_REQUIRES(mutex_) { return IsReaperLocked(process); };
    std::erase_if(alive, helps_it);
  }
  if (!left) left = MayBeLeft(orphan->attempt, strays, &alive);
  if (orphan->abandoned && orphan->leader > 0 && !AdoptsLocked()) {
    for (const ProcessInfo& process : view->Session(orphan->leader)) {
      SignalProcess(process, SIGKILL);
      alive.push_back(process);
      left = true;
    }
  }
  if (!left && !remains.run_cgroup.empty()) {
    const Cgroup leaf = Cgroup::Open(remains.run_cgroup + "/" + LeafName(orphan->attempt));
    if (leaf.valid()) leaf.Kill();
    left = leaf.valid() && leaf.populated();
  }
  if (left && remains.slow && orphan->told.Change(alive)) {
    calls->push_back({[handler = orphan->handler, survivors = NameSurvivors(alive)] {
      handler->OnSurvivors(survivors);
    }});
  }
  return !left;
}

// Of dead wardens. Gives true if something in one is alive.
bool ProcessHost::KillCgroupsLocked() {
  bool left = false;
  for (Remains& remains : remains_) {
    if (remains.run_cgroup.empty()) continue;
    const Cgroup cgroup = Cgroup::Open(remains.run_cgroup);
    if (cgroup.valid()) cgroup.Kill();
    if (RemoveCgroup(remains.run_cgroup)) {
      remains.run_cgroup.clear();
    } else {
      left = true;
    }
  }
  return left;
}

// A child that is reaped here leaves its own children to us, so only a pass that finds none at all
// proves that none is left.
std::vector<Stray> ProcessHost::KillStraysLocked(bool reapers_live) {
  if (!options_.adopt_orphans) return {};
  const auto is_at_work = [this, reapers_live](pid_t pid) NURSERY_REQUIRES(mutex_) {
    if (pid == warden_.pid) return true;
    // A reaper that lives is doing our work; what it leaves if it is killed is found after its end.
    const std::optional<ProcessInfo> child = reapers_live ? ReadProcess(pid) : std::nullopt;
    // The warden may die at just this moment.
    return child && (child->session == warden_.pid || IsReaperLocked(*child));
  };
  KillDescendants(is_at_work);
  std::unordered_map<pid_t, uint64_t> sessions;
  bool slow = false;
  for (const Remains& remains : remains_) {
    slow |= remains.slow;
    for (const Orphan& orphan : remains.orphans) sessions.emplace(orphan.leader, orphan.attempt);
  }
  std::vector<Stray> strays = FindStrays(slow ? instance_ : "", sessions, is_at_work);
  for (const Stray& stray : strays) {
    if (stray.process.parent != getpid()) continue;
    waitpid(stray.process.pid, nullptr, WNOHANG | __WALL);
  }
  return strays;
}

}  // namespace nursery::warden
