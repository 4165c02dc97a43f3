// Groups and maps: their children and items.
#include <algorithm>

#include "server/engine/limits.h"
#include "server/engine/tree.h"

namespace nursery::engine {

void Tree::OpenGroup(Node& group, BellSender bell) {
  MutexLock lock(mutex_);
  group.group = std::make_unique<GroupState>();
  group.group->bell = std::make_unique<BellSender>(std::move(bell));
  group.group->children.reserve(static_cast<size_t>(group.spec.child_count));
  for (spec::NodeIndex child : job_->Children(group.spec.index)) {
    group.group->children.push_back(std::make_unique<Node>(job_->node(child), &group));
  }
  // Closed between its start and now: the children must not be seen open.
  if (group.status.state != NodeState::kEnding) return;
  CloseBelow(group, group.below, Told{group.cause, group.teardowns});
}

std::vector<Node*> Tree::TakeEnded(Node& group) {
  MutexLock lock(mutex_);
  return std::exchange(group.group->ended, {});
}

void Tree::OpenMap(Node& map, std::shared_ptr<const spec::ItemSet> items, bool keep_outputs) {
  MutexLock lock(mutex_);
  map.map = std::make_unique<MapState>();
  map.map->total = items->size();
  map.map->items = std::move(items);
  map.map->flushed = clock_.Now();
  if (keep_outputs) map.map->kept.resize(static_cast<size_t>(map.map->total));
  if (map.status.state == NodeState::kEnding) {
    SkipItems(map, Told{map.cause, map.teardowns});
  }
}

int64_t Tree::TakeItem(Node& map) {
  MutexLock lock(mutex_);
  MapState& state = *map.map;
  return state.next < state.total ? state.next++ : -1;
}

void Tree::AddItem(Node& map, Node& item) {
  MutexLock lock(mutex_);
  map.map->live.push_back(&item);
  if (map.status.state != NodeState::kEnding) return;
  // Taken before the map was closed, added after: it starts nothing.
  StepAndCount(item, map.below, Told{map.cause, map.teardowns});
}

void Tree::RemoveItem(Node& map, Node& item) {
  MutexLock lock(mutex_);
  std::erase(map.map->live, &item);
}

void Tree::FlushItems(Node& map, bool all) {
  MapState& state = *map.map;
  const Time now = clock_.Now();
  if (!all && now - state.flushed < kItemsFlush) return;
  state.flushed = now;
  if (state.succeeded.empty() && state.failures.empty()) return;
  v1::Event event;
  v1::ItemsEnded& ended = *event.mutable_items_ended();
  ended.set_path(map.Path());
  std::sort(state.succeeded.begin(), state.succeeded.end());
  v1::ItemRange* range = nullptr;
  for (int64_t index : state.succeeded) {
    if (range == nullptr || range->first() + range->count() != index) {
      range = ended.add_succeeded();
      range->set_first(index);
    }
    range->set_count(range->count() + 1);
  }
  for (v1::ItemFailure& failure : state.failures) *ended.add_failures() = std::move(failure);
  state.succeeded.clear();
  state.failures.clear();
  Append(std::move(event));
}

size_t Tree::LetGo() {
  MutexLock lock(mutex_);
  return LetGoBelow(root_);
}

size_t Tree::LetGoBelow(Node& node) {
  size_t bytes = 0;
  const auto drop = [&bytes](const Output* output) {
    if (output == nullptr) return;
    output->DropWhole();
    bytes += output->size();
  };
  const Activity& activity = node.activity();
  drop(activity.output.get());
  if (activity.errors != activity.output) drop(activity.errors.get());
  if (node.map != nullptr) {
    node.map->kept = {};
    node.map->items.reset();
  }
  for (const auto& child : node.children()) bytes += LetGoBelow(*child);
  return bytes;
}

}  // namespace nursery::engine
