// What a tree tells of itself as a whole.
#include <algorithm>

#include "server/engine/convert.h"
#include "server/engine/limits.h"
#include "server/engine/tree.h"

namespace nursery::engine {

std::array<int64_t, 8> Tree::Counts() const {
  MutexLock lock(mutex_);
  return counts_;
}

std::array<Duration, kPhases> Tree::Spent() const {
  MutexLock lock(mutex_);
  return spent_;
}

std::vector<v1::NodeError> Tree::Errors(int64_t* count) const {
  MutexLock lock(mutex_);
  *count = error_count_;
  return errors_;
}

int64_t Tree::last_seq() const {
  MutexLock lock(mutex_);
  return seq_;
}

int64_t Tree::tolerated() const {
  MutexLock lock(mutex_);
  return tolerated_;
}

v1::StateCounts Tree::ItemCounts() const {
  MutexLock lock(mutex_);
  return ToProto(item_counts_, item_tolerated_);
}

std::vector<std::string> Tree::WaitedFor() const {
  std::vector<std::pair<Duration, std::string>> waits;
  {
    MutexLock lock(mutex_);
    for (const auto& [semaphore, wait] : waited_for_) {
      if (wait >= kNoticeableWait) waits.emplace_back(wait, semaphore);
    }
  }
  std::sort(waits.begin(), waits.end(), std::greater());
  std::vector<std::string> names;
  for (auto& [wait, semaphore] : waits) names.push_back(std::move(semaphore));
  return names;
}

v1::Cause Tree::OwnCause(const Node& node) {
  v1::Cause cause = *node.cause;
  // A lost call is a cancel that the contract tells from others.
  const bool lost = cause.kind() == v1::CAUSE_KIND_CALL_LOST;
  const bool cancelled = node.cause_kind == CauseKind::kCancelled;
  if (node.cause_kind != CauseKind::kNone && !(lost && cancelled)) {
    cause.set_kind(ToProto(node.cause_kind));
  }
  return cause;
}

void Tree::CollectRunning(const Node& node, v1::NodeError* error) {
  if (error->still_running_size() == static_cast<int>(kMaxStillRunning)) return;
  const Activity& activity = node.activity();
  const bool runs = activity.phase == Phase::kRunning || activity.cut_short;
  if (runs && node.spec.kind == spec::Kind::kAction && !IsTerminal(node.status.state)) {
    v1::RunningAction& running = *error->add_still_running();
    running.set_path(node.Path());
    running.set_pid(activity.pid);
  }
  for (const auto& child : node.children()) CollectRunning(*child, error);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) CollectRunning(*item, error);
}

}  // namespace nursery::engine
