#include "server/app/held_limits.h"

namespace nursery::app {

spec::LimitReasons NotEnforced(const warden::ProcessHost::Stats& processes) {
  spec::LimitReasons reasons;
  if (processes.level == warden::Level::kNone) return reasons;
  for (size_t i = 0; i < warden::kTreeLimitCount; ++i) {
    const auto limit = static_cast<warden::TreeLimit>(i);
    if (Contains(processes.held, limit)) continue;
    std::string& reason = reasons[std::string(warden::TreeLimitName(limit))];
    if (processes.level == warden::Level::kCgroup) {
      reason = "not enforced here: the server's cgroup cannot hand on the controller '" +
               std::string(warden::ControllerName(limit)) + "'";
    } else {
      reason = "not enforced at this level: containment is " +
               std::string(warden::LevelName(processes.level)) + ", and a cgroup is needed";
    }
  }
  return reasons;
}

std::vector<std::string> Enforced(const warden::ProcessHost::Stats& processes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < warden::kTreeLimitCount; ++i) {
    const auto limit = static_cast<warden::TreeLimit>(i);
    if (Contains(processes.held, limit)) names.emplace_back(warden::TreeLimitName(limit));
  }
  return names;
}

}  // namespace nursery::app
