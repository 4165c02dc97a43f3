// Enclosure: what belongs to one attempt, as its reaper sees it at one level of containment: its
// cgroup and all below the reaper, all below the reaper, or the session of its leader.
//
// Thread safety: the reaper's thread; Fork and birthplace also that of its launcher meanwhile.
#ifndef NURSERY_SERVER_WARDEN_ENCLOSURE_H_
#define NURSERY_SERVER_WARDEN_ENCLOSURE_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/warden/cgroup.h"
#include "server/warden/process_tree.h"
#include "server/warden/protocol.h"
#include "server/warden/tree_limits.h"

namespace nursery::warden {

// How a warden contains its attempts, as its self-test has found out.
struct Containment {
  Level level = Level::kNone;
  int cgroup = -1;  // at kCgroup the open directory below which leaves are made
  Join join = Join::kClone;
  TreeLimitSet held = 0;  // at kCgroup: those that hold for a leaf
};

class Enclosure {
 public:
  explicit Enclosure(const Containment& containment) : containment_(containment) {}

  // Makes the attempt's leaf where there is one; false, and errno, if it cannot be made.
  bool Prepare(uint64_t attempt);
  // Sets those of them that hold here. Gives the one that cannot be set, and errno.
  std::optional<TreeLimit> SetLimits(const TreeLimits& limits) const;
  // As fork, into the leaf unless the child has to enter by itself.
  pid_t Fork() const;
  // The open cgroup into which a child has to be cloned; -1: none.
  int birthplace() const;
  // Whose session it is; -1: there is none.
  void SetLeader(pid_t leader);
  // What the child has to enter by itself; -1: nothing.
  int to_enter() const;

  // Everything of it that is alive.
  std::vector<ProcessInfo> Live() const;
  // SIGKILL to all that one system call reaches. Gives whether something was reached. The leader is
  // not reaped yet, or -1.
  bool KillAtOnce(pid_t leader) const;
  // One round against all of it. Gives the number of live processes found.
  size_t KillRound() const;
  // Whether anything of it is alive, when the calling process has no child any more. If not, its
  // leaf is removed: the kernel does that with an empty one only.
  bool OthersAlive();
  // At the level kGroup: what carries `mark` in its environment and was not in the session any more
  // when OthersAlive looked last.
  std::vector<ProcessInfo> Escaped(const std::string& mark) const;
  // Whether it is still there or removed.
  MemoryFacts Memory() const { return leaf_.valid() ? ReadMemory() : memory_; }
  // When nothing of it is left.
  void Remove();

 private:
  MemoryFacts ReadMemory() const;

  const Containment containment_;
  std::string leaf_name_;
  Cgroup leaf_;
  MemoryFacts memory_;  // of a leaf that is removed
  pid_t session_ = -1;
  uint64_t leader_start_ = 0;        // ProcessInfo::start_time
  std::vector<ProcessInfo> others_;  // outside of the session, and not older than its leader
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_ENCLOSURE_H_
