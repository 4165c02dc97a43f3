#include "server/engine/escapees.h"

#include "server/engine/limits.h"
#include "server/engine/node_view.h"
#include "server/engine/text.h"

namespace nursery::engine {

void SurvivorList::Add(const std::string& path, const Survivors& survivors) {
  count += survivors.count;
  for (const Survivor& each : survivors.named) {
    if (named.size() == kMaxSurvivors) return;
    v1::Survivor& survivor = named.emplace_back();
    survivor.set_pid(each.pid);
    survivor.set_command(ToUtf8(each.command));
    survivor.set_state(each.state);
    survivor.set_path(path);
  }
}

void Escapees::Add(const std::string& path, const Survivors& left) {
  MutexLock lock(mutex_);
  if (left_.size() == kMaxLeft) {
    others_ += left.count;
    return;
  }
  left_.push_back({path, left});
  if (left_.size() > kMaxSurvivors) left_.back().survivors.named.clear();
}

void Escapees::AddTo(const std::string& path, SurvivorList* list) const {
  MutexLock lock(mutex_);
  list->count += others_;
  for (const Left& each : left_) {
    if (IsAtOrBelow(each.path, path)) list->Add(each.path, each.survivors);
  }
}

}  // namespace nursery::engine
