#include "server/warden/tree_limits.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include "server/warden/cgroup.h"

namespace nursery::warden {
namespace {

struct Knob {
  const char* name;
  const char* controller;
  const char* file;
};

// By TreeLimit.
constexpr std::array<Knob, kTreeLimitCount> kKnobs = {{{"memory", "memory", "memory.max"},
                                                       {"pids", "pids", "pids.max"},
                                                       {"cpu_weight", "cpu", "cpu.weight"}}};

// The number behind `key` in lines of "key number"; 0 if there is none.
uint64_t NumberOf(const std::string& lines, std::string_view key) {
  const std::string line = "\n" + std::string(key) + " ";
  const size_t found = ("\n" + lines).find(line);
  if (found == std::string::npos) return 0;
  return std::strtoull(lines.c_str() + found + key.size() + 1, nullptr, 10);
}

// Of a file that not every kernel has.
bool WriteIfThere(const Cgroup& leaf, const char* file, std::string_view text) {
  return leaf.Write(file, text) || errno == ENOENT;
}

}  // namespace

TreeLimitSet SetOf(const TreeLimits& limits) {
  TreeLimitSet set = 0;
  for (size_t i = 0; i < kTreeLimitCount; ++i) {
    if (limits[i]) set |= static_cast<TreeLimitSet>(1u << i);
  }
  return set;
}

std::string_view TreeLimitName(TreeLimit limit) { return kKnobs[static_cast<size_t>(limit)].name; }

std::string_view ControllerName(TreeLimit limit) {
  return kKnobs[static_cast<size_t>(limit)].controller;
}

TreeLimitSet HeldBelow(const Cgroup& parent) {
  TreeLimitSet held = 0;
  for (size_t i = 0; i < kTreeLimitCount; ++i) {
    if (parent.HandsOn(kKnobs[i].controller)) held |= static_cast<TreeLimitSet>(1u << i);
  }
  return held;
}

std::optional<TreeLimit> SetTreeLimits(const Cgroup& leaf, const TreeLimits& limits,
                                       TreeLimitSet held) {
  for (size_t i = 0; i < kTreeLimitCount; ++i) {
    const auto limit = static_cast<TreeLimit>(i);
    if (!limits[i] || !Contains(held, limit)) continue;
    if (!leaf.Write(kKnobs[i].file, std::to_string(*limits[i]))) return limit;
    if (limit != TreeLimit::kMemory) continue;
    if (!WriteIfThere(leaf, "memory.swap.max", "0") || !leaf.Write("memory.oom.group", "1")) {
      return limit;
    }
  }
  return std::nullopt;
}

MemoryFacts ReadMemoryFacts(const Cgroup& leaf) {
  MemoryFacts facts;
  const std::string events = leaf.Read("memory.events");
  facts.out_of_memory = NumberOf(events, "oom_kill") > 0;
  // Counted where the limit was, and above.
  facts.by_own_limit = facts.out_of_memory && NumberOf(events, "oom") > 0;
  facts.peak_bytes = std::strtoull(leaf.Read("memory.peak").c_str(), nullptr, 10);
  return facts;
}

}  // namespace nursery::warden
