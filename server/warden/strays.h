// Strays: what reapers that were killed have left below the calling process, a subreaper, and of
// which attempt it is.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_WARDEN_STRAYS_H_
#define NURSERY_SERVER_WARDEN_STRAYS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/warden/process_tree.h"

namespace nursery::warden {

// A killed process is gone within microseconds unless the machine is overloaded or the process
// hangs in the kernel. Both are worth telling, and so often looked at again.
inline constexpr std::chrono::milliseconds kSurvivorsAfter{200};

struct Stray {
  ProcessInfo process;
  // By its mark, or that of its parent. Nothing: it may be of any.
  std::optional<uint64_t> attempt;
};

// All descendants, dead ones included, but for the children for which `skip` is true and what is
// below them. `instance` is what the marks of own attempts begin with; empty: marks are not read,
// which takes longer than all else.
std::vector<Stray> FindStrays(const std::string& instance, const std::function<bool(pid_t)>& skip);

// Whether one of them may be of `attempt`; those that are alive are added to `alive`.
bool MayBeLeft(uint64_t attempt, const std::vector<Stray>& strays, std::vector<ProcessInfo>* alive);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_STRAYS_H_
