#include "server/warden/strays.h"

#include <unistd.h>

#include <cstdlib>
#include <unordered_map>

namespace nursery::warden {
namespace {

std::optional<uint64_t> AttemptOf(const ProcessInfo& process, const std::string& instance) {
  std::optional<uint64_t> attempt;
  for (const std::string& mark : MarksOf(process)) {
    if (!mark.starts_with(instance)) continue;
    attempt = std::strtoull(mark.c_str() + instance.size(), nullptr, 10);
  }
  return attempt;
}

}  // namespace

std::vector<Stray> FindStrays(const std::string& instance, const std::function<bool(pid_t)>& skip) {
  std::vector<Stray> strays;
  std::unordered_map<pid_t, uint64_t> attempts;
  const auto add = [&](const ProcessInfo& process) {
    Stray& stray = strays.emplace_back(Stray{process, std::nullopt});
    if (instance.empty()) return;
    stray.attempt = AttemptOf(process, instance);
    const auto parent = attempts.find(process.parent);
    if (!stray.attempt && parent != attempts.end()) stray.attempt = parent->second;
    if (stray.attempt) attempts.emplace(process.pid, *stray.attempt);
  };
  VisitDescendants(getpid(), add, skip);
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

}  // namespace nursery::warden
