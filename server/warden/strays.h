// What reapers that were killed have left, and of which attempt it is: strays, which are below the
// calling process, a subreaper; and at the level `group` a view of the machine.
//
// Thread safety: pure functions; a GroupView none.
#ifndef NURSERY_SERVER_WARDEN_STRAYS_H_
#define NURSERY_SERVER_WARDEN_STRAYS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/warden/process_tree.h"

namespace nursery::warden {

// A killed process is gone within microseconds unless the machine is overloaded or the process
// hangs in the kernel. Both are worth telling, and so often looked at again.
inline constexpr std::chrono::milliseconds kSurvivorsAfter{200};

struct Stray {
  ProcessInfo process;
  // By its mark, that of its parent, or its session. Nothing: it may be of any.
  std::optional<uint64_t> attempt;
};

// All descendants, dead ones included, but for the children for which `skip` is true and what is
// below them. `instance` is what the marks of own attempts begin with; empty: of which attempt they
// are is not looked at, which takes longer than all else. `sessions`: attempts by their leader.
std::vector<Stray> FindStrays(const std::string& instance,
                              const std::unordered_map<pid_t, uint64_t>& sessions,
                              const std::function<bool(pid_t)>& skip);

// Whether one of them may be of `attempt`; those that are alive are added to `alive`.
bool MayBeLeft(uint64_t attempt, const std::vector<Stray>& strays, std::vector<ProcessInfo>* alive);

// What lives, looked at once, when it is first asked for. For the level `group`, where nothing
// comes to a subreaper.
class GroupView {
 public:
  explicit GroupView(std::string instance) : instance_(std::move(instance)) {}

  // In the session of `leader`; none for -1.
  std::vector<ProcessInfo> Session(pid_t leader);
  // With the mark of `attempt`: once its session is dead, what has escaped.
  std::vector<ProcessInfo> Marked(uint64_t attempt);

 private:
  const std::string instance_;
  std::optional<std::unordered_map<pid_t, std::vector<ProcessInfo>>> sessions_;
  std::optional<std::map<uint64_t, std::vector<ProcessInfo>>> marked_;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_STRAYS_H_
