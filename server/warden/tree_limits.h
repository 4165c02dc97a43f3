// What bounds an attempt as a whole: limits that the controllers of its cgroup hold, and what they
// tell of it.
//
// Thread safety: plain data and system calls.
#ifndef NURSERY_SERVER_WARDEN_TREE_LIMITS_H_
#define NURSERY_SERVER_WARDEN_TREE_LIMITS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nursery::warden {

class Cgroup;

// In bytes; in processes and threads; from 1 to 10,000, the default of others being 100.
enum class TreeLimit : uint8_t { kMemory, kPids, kCpuWeight };
inline constexpr size_t kTreeLimitCount = 3;
using TreeLimits = std::array<std::optional<uint64_t>, kTreeLimitCount>;

// Some of them: bit i is TreeLimit i.
using TreeLimitSet = uint16_t;

inline bool Contains(TreeLimitSet set, TreeLimit limit) {
  return (set >> static_cast<unsigned>(limit) & 1) != 0;
}

// Those that have a value.
TreeLimitSet SetOf(const TreeLimits& limits);

// As a job calls it: memory, pids, cpu_weight.
std::string_view TreeLimitName(TreeLimit limit);
// What holds it: memory, pids, cpu.
std::string_view ControllerName(TreeLimit limit);

// Those that hold in what is made below `parent`: whose controllers it hands on.
TreeLimitSet HeldBelow(const Cgroup& parent);

// Sets those of `limits` that are in `held`, before a process is in `leaf`. Gives the one that
// cannot be set, and errno. What exceeds its memory is killed as a whole, and has no swap to get
// around it.
std::optional<TreeLimit> SetTreeLimits(const Cgroup& leaf, const TreeLimits& limits,
                                       TreeLimitSet held);

struct MemoryFacts {
  bool out_of_memory = false;  // the kernel killed a process for want of memory
  bool by_own_limit = false;   // that of the attempt, and not of a cgroup above it or the machine
  uint64_t peak_bytes = 0;     // of all together; 0: not known
};

// Nothing known where `leaf` has no controller of memory.
MemoryFacts ReadMemoryFacts(const Cgroup& leaf);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_TREE_LIMITS_H_
