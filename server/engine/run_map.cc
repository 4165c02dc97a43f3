#include <algorithm>
#include <string>
#include <unordered_map>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/limits.h"
#include "server/engine/node_scope.h"
#include "server/engine/reason.h"
#include "server/engine/runner.h"

namespace nursery::engine {
namespace {

// What the workers of one map share.
class MapRun {
 public:
  MapRun(Runtime& run, Node& node, int64_t total)
      : run_(run), node_(node), join_(node.spec.map->join, static_cast<uint32_t>(total)) {}

  void Open() NURSERY_EXCLUDES(mutex_) {
    std::optional<JoinDecision> decision;
    {
      MutexLock lock(mutex_);
      decision = join_.OnOpened();
    }
    if (decision) ApplyDecision(run_.tree, node_, *decision, nullptr);
  }

  // Takes `key` for item `index`. INVALID_ARGUMENT: another item has it, or it is none.
  absl::Status TakeKey(const std::string& key, int64_t index) NURSERY_EXCLUDES(mutex_) {
    if (key.empty() || key.size() > kMaxKeyBytes) {
      return Error(absl::StatusCode::kInvalidArgument, "the key of item " + std::to_string(index) +
                                                           " has " + std::to_string(key.size()) +
                                                           " bytes; it must have 1 to " +
                                                           std::to_string(kMaxKeyBytes));
    }
    MutexLock lock(mutex_);
    const auto [first, is_new] = keys_.emplace(key, index);
    if (is_new) return absl::OkStatus();
    return Error(absl::StatusCode::kInvalidArgument,
                 "items " + std::to_string(std::min(first->second, index)) + " and " +
                     std::to_string(std::max(first->second, index)) + " have the same key '" + key +
                     "'");
  }

  // Whether it decided the map.
  bool OnItemEnded(const Node& item) NURSERY_EXCLUDES(mutex_) {
    const ChildEnd end = EndOf(run_.tree, item, static_cast<uint32_t>(item.item));
    std::shared_ptr<const v1::Cause> cause = run_.tree.Locked([&] { return item.cause; });
    std::optional<JoinDecision> decision;
    {
      MutexLock lock(mutex_);
      decision = join_.OnChildEnded(end);
      const bool counts = cause != nullptr && Classify(end) == ChildClass::kFailure;
      if (counts && first_failure_ == nullptr) first_failure_ = cause;
      // A join that waited for all names the first failure, whose item is gone by now.
      if (decision && decision->child != end.child) cause = first_failure_;
    }
    if (decision) ApplyDecision(run_.tree, node_, *decision, cause);
    return decision.has_value();
  }

 private:
  Runtime& run_;
  Node& node_;
  Mutex mutex_;
  JoinAccounting join_ NURSERY_GUARDED_BY(mutex_);
  std::shared_ptr<const v1::Cause> first_failure_ NURSERY_GUARDED_BY(mutex_);
  // Of the items taken so far.
  std::unordered_map<std::string, int64_t> keys_ NURSERY_GUARDED_BY(mutex_);
};

// The key of `item` by the map's template; an error fails the item, which has then none.
absl::Status SetKey(Runtime& run, MapRun& state, Node& item) {
  const std::optional<spec::Template>& key = item.parent->spec.map->key;
  if (!key) return absl::OkStatus();
  const std::vector<Hold> none;
  absl::StatusOr<std::string> text = key->Expand(NodeScope(run, item, none));
  if (!text.ok()) return text.status();
  absl::Status taken = state.TakeKey(*text, item.item);
  if (taken.ok()) item.key = std::make_unique<const std::string>(*std::move(text));
  return taken;
}

Async<void> RunItem(Context context, Runtime* run, Node* map, int64_t index, MapRun* state,
                    const CancelScope* items) {
  const spec::Node& spec = run->tree.job().node(map->spec.first_child);
  Node item(spec, map, index);
  absl::Status keyed = SetKey(*run, *state, item);
  run->tree.AddItem(*map, item);
  if (!keyed.ok() && run->tree.Start(item)) {
    run->tree.Fail(item, EventKind::kFail, keyed, 0, "");
    run->tree.Finish(item);
  } else {
    co_await RunNode(context, run, &item);
  }
  if (state->OnItemEnded(item)) {
    items->Cancel(Cause(nursery::CauseKind::kGroupDecided,
                        Error(absl::StatusCode::kCancelled, "the map is decided")));
  }
  run->tree.RemoveItem(*map, item);
}

Async<void> Work(Context context, Runtime* run, Node* map, MapRun* state,
                 const CancelScope* items) {
  for (int turn = 1;; ++turn) {
    // Items that never wait must not keep everybody else from running.
    if (turn % kItemsPerTurn == 0) co_await Yield();
    const int64_t index = run->tree.TakeItem(*map);
    if (index < 0) co_return;
    co_await RunItem(context, run, map, index, state, items);
    if (!context.cancelled()) continue;
    DecideByContext(context, *run, *map);
    co_return;
  }
}

int64_t WorkersOf(const Runtime& run, const Node& map) {
  if (map.spec.map->workers > 0) return map.spec.map->workers;
  const spec::Node& item = run.tree.job().node(map.spec.first_child);
  return run.pools[item.pool]->slots();
}

Async<absl::Status> SpawnWorkers(Group& group, Runtime* run, Node* map, int64_t total,
                                 MapRun* state, const CancelScope* items) {
  const int64_t workers = std::min(total, WorkersOf(*run, *map));
  for (int64_t i = 0; i < workers; ++i) {
    absl::Status spawned = group.TrySpawn(map->Path() + " worker", Work, run, map, state, items);
    if (spawned.ok()) continue;
    // The map is closed already, or the runtime has no task: fewer workers do, but none does not.
    const bool closed = group.context().cancelled();
    if (i == 0 && !closed) run->tree.Fail(*map, EventKind::kFail, TooManyTasks(spawned), 0, "");
    break;
  }
  co_return absl::OkStatus();
}

// The items, which may be the lines of a sibling's output.
absl::StatusOr<std::shared_ptr<const spec::ItemSet>> ItemsOf(Runtime& run, Node& map) {
  const auto& source = map.spec.map->items;
  if (const auto* list = std::get_if<spec::ItemSet>(&source)) {
    return std::shared_ptr<const spec::ItemSet>(std::shared_ptr<void>(), list);
  }
  return ItemsOfOutput(run, map, std::get<spec::ItemsOfOutput>(source).sibling);
}

}  // namespace

Async<void> RunMap(Context context, Runtime* run, Node* node) {
  absl::StatusOr<std::shared_ptr<const spec::ItemSet>> list = ItemsOf(*run, *node);
  if (!list.ok()) {
    run->tree.Fail(*node, EventKind::kFail, list.status(), 0, "");
    co_return;
  }
  const int64_t total = (*list)->size();
  if (total > kMaxItemsOfOutput) {
    run->tree.Fail(*node, EventKind::kFail,
                   Error(absl::StatusCode::kFailedPrecondition,
                         std::to_string(total) + " items, over the limit of " +
                             std::to_string(kMaxItemsOfOutput)),
                   0, "");
    co_return;
  }
  run->tree.OpenMap(*node, *std::move(list), run->consumed[static_cast<size_t>(node->spec.index)]);
  MapRun state(*run, *node, total);
  state.Open();
  const CancelScope items(context);
  GroupOptions options;
  options.join = nursery::Join::Collect();
  GroupResult result =
      co_await WithGroup(items.context(), options, SpawnWorkers, run, node, total, &state, &items);
  NURSERY_CHECK(result.status.ok()) << node->Path() << ": " << result.status;
  // Cancelled before any worker could run.
  if (context.cancelled()) DecideByContext(context, *run, *node);
}

}  // namespace nursery::engine
