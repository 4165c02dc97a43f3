#include "nursery/core/wait_graph.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/internal/wait_site.h"

namespace nursery {

using internal::TaskEntry;
using internal::TaskKey;
using internal::TaskSnapshot;
using internal::WaitQueue;

namespace {

constexpr size_t kMaxUnreachableShown = 100;

struct Node;

// A queue with its tasks found.
struct Queue {
  struct Part {
    Node* node = nullptr;
    int64_t weight = 0;
  };
  std::vector<Part> waiters;
  std::vector<Part> holders;
  int64_t total = 0;
  bool fifo = false;
  bool joins = false;  // a holder is one until it has ended itself
};

struct Node {
  const TaskEntry* entry = nullptr;
  const TaskSnapshot* snapshot = nullptr;
  Node* parent = nullptr;
  std::vector<std::pair<Queue*, size_t>> places;  // where it waits; more than one for a Select
  bool live = true;
  bool live_below = true;  // it, or a task below it
  enum { kNew, kOpen, kDone } visit = kNew;
  size_t depth = 0;  // on the path while kOpen
};

bool Holds(const Queue& queue, const Queue::Part& holder) {
  return queue.joins ? !holder.node->live : !holder.node->live_below;
}

// Reasons for which a task waits for other tasks.
bool WaitsForTasks(WaitReason reason) {
  switch (reason) {
    case WaitReason::kChannelSend:
    case WaitReason::kChannelReceive:
    case WaitReason::kSelect:
    case WaitReason::kSemaphore:
    case WaitReason::kGroupLimit:
    case WaitReason::kGroupJoin:
      return true;
    default:
      return false;
  }
}

class Graph {
 public:
  Graph() {
    const std::vector<TaskSnapshot> before = internal::SnapshotAll();
    internal::WaitSite::ForEach([this](const internal::WaitSite& site) {
      site.VisitQueues([this](WaitQueue queue) {
        if (!queue.waiters.empty()) seen_.push_back(std::move(queue));
      });
    });
    snapshots_ = internal::SnapshotAll();
    MakeNodes(before);
    for (const WaitQueue& queue : seen_) AddQueue(queue);
    AddJoins(before);
    for (Node& node : nodes_) node.live = node.places.empty();
    FindLive();
  }

  WaitGraph Result() {
    WaitGraph graph;
    for (Node& node : nodes_) {
      if (node.live) continue;
      graph.unreachable.push_back(TaskOf(node));
      if (node.visit == Node::kNew && graph.cycles.size() < kMaxWaitCycles) {
        std::optional<WaitCycle> cycle = CycleFrom(node);
        if (cycle) graph.cycles.push_back(*std::move(cycle));
      }
    }
    return graph;
  }

 private:
  static leak::LiveTask TaskOf(const Node& node) {
    leak::LiveTask task = leak::LiveTaskOf(*node.entry, node.snapshot->taken);
    for (const Node* above = node.parent; above != nullptr; above = above->parent) {
      task.scopes.push_back(above->entry->name);
    }
    std::reverse(task.scopes.begin(), task.scopes.end());
    return task;
  }

  Node* Find(TaskKey key) {
    const auto first = first_nodes_.find(key.registry);
    if (first == first_nodes_.end()) return nullptr;
    const auto& [snapshot, index] = first->second;
    const TaskEntry* entry = snapshot->Find(key.id);
    if (entry == nullptr) return nullptr;
    return &nodes_[index + static_cast<size_t>(entry - snapshot->tasks.data())];
  }

  void MakeNodes(const std::vector<TaskSnapshot>& before) {
    size_t count = 0;
    for (const TaskSnapshot& snapshot : snapshots_) {
      first_nodes_[snapshot.registry] = {&snapshot, count};
      count += snapshot.tasks.size();
    }
    nodes_.resize(count);
    size_t index = 0;
    for (const TaskSnapshot& snapshot : snapshots_) {
      const auto same = std::find_if(before.begin(), before.end(), [&](const TaskSnapshot& each) {
        return each.registry == snapshot.registry;
      });
      for (const TaskEntry& entry : snapshot.tasks) {
        Node& node = nodes_[index++];
        node.entry = &entry;
        node.snapshot = &snapshot;
        node.parent = Find({snapshot.registry, entry.parent_id});
        const TaskEntry* then = same == before.end() ? nullptr : same->Find(entry.id);
        const bool stood = then != nullptr && then->waits == entry.waits &&
                           then->state == entry.state && then->reason == entry.reason;
        stood_.push_back(stood && WaitsForTasks(entry.reason));
      }
    }
  }

  bool Stood(const Node& node) const { return stood_[static_cast<size_t>(&node - nodes_.data())]; }

  void AddQueue(const WaitQueue& seen) {
    Queue& queue = queues_.emplace_back();
    queue.total = seen.total;
    queue.fifo = seen.fifo;
    for (const WaitQueue::Part& part : seen.waiters) {
      Node* const node = Find(part.task);
      // Whoever goes on meanwhile is not in the way of others.
      if (node != nullptr && Stood(*node)) queue.waiters.push_back({node, part.weight});
    }
    for (const WaitQueue::Part& part : seen.holders) {
      // One that has ended must have passed on what it held.
      if (Node* const node = Find(part.task)) queue.holders.push_back({node, part.weight});
    }
    for (size_t i = 0; i < queue.waiters.size(); ++i) {
      queue.waiters[i].node->places.emplace_back(&queue, i);
    }
  }

  // Of a group its children are the holders: a join needs the end of all, a place that of one.
  void AddJoins(const std::vector<TaskSnapshot>& before) {
    std::map<std::pair<const Node*, const void*>, Queue*> joins;
    for (Node& node : nodes_) {
      const WaitReason reason = node.entry->reason;
      if (!Stood(node)) continue;
      if (reason != WaitReason::kGroupJoin && reason != WaitReason::kGroupLimit) continue;
      Queue& queue = queues_.emplace_back();
      queue.joins = true;
      queue.waiters.push_back({&node, 0});
      node.places.emplace_back(&queue, 0);
      joins[{&node, node.entry->object}] = &queue;
    }
    for (Node& node : nodes_) {
      const auto found = joins.find({node.parent, node.entry->owner});
      if (found == joins.end()) continue;
      Queue& queue = *found->second;
      queue.holders.push_back({&node, 1});
      ++queue.total;
      Queue::Part& waiter = queue.waiters.front();
      waiter.weight = waiter.node->entry->reason == WaitReason::kGroupJoin ? queue.total : 1;
    }
    // One that has just ended gives its place.
    for (const TaskSnapshot& snapshot : before) {
      for (const TaskEntry& entry : snapshot.tasks) {
        if (Find({snapshot.registry, entry.id}) != nullptr) continue;
        const auto found = joins.find({Find({snapshot.registry, entry.parent_id}), entry.owner});
        if (found != joins.end()) ++found->second->total;
      }
    }
  }

  // Whether one more of its waiters can.
  static bool LetGoOn(const Queue& queue) {
    int64_t held = 0;
    for (const Queue::Part& holder : queue.holders) {
      if (Holds(queue, holder)) held += holder.weight;
    }
    bool changed = false;
    for (const Queue::Part& waiter : queue.waiters) {
      const bool goes_on = queue.total - held >= waiter.weight;
      changed = changed || (goes_on && !waiter.node->live);
      waiter.node->live = waiter.node->live || goes_on;
      if (queue.fifo && !waiter.node->live && !PLANTED(queue_order_forgotten)) break;
    }
    return changed;
  }

  // Passes until nothing changes. The joins come last in the list, in the order of their tasks:
  // from its end a chain of joins, however long, takes one pass.
  void FindLive() {
    for (bool changed = true; changed;) {
      changed = false;
      for (Node& node : nodes_) node.live_below = node.live;
      for (size_t i = nodes_.size(); i-- > 0;) {
        Node& node = nodes_[i];
        if (node.live_below && node.parent != nullptr && !PLANTED(descendants_forgotten)) {
          node.parent->live_below = true;
        }
      }
      for (auto queue = queues_.rbegin(); queue != queues_.rend(); ++queue) {
        changed = LetGoOn(*queue) || changed;
      }
    }
  }

  // Whom a task that cannot go on waits for: there is one.
  static std::vector<Node*> Blockers(const Node& node) {
    std::vector<Node*> blockers;
    for (const auto& [queue, place] : node.places) {
      for (const Queue::Part& holder : queue->holders) {
        if (Holds(*queue, holder)) blockers.push_back(holder.node);
      }
      for (size_t i = 0; queue->fifo && i < place; ++i) {
        if (!queue->waiters[i].node->live) blockers.push_back(queue->waiters[i].node);
      }
    }
    return blockers;
  }

  // The first cycle on a path from `start`, if that comes upon one that was not met before.
  std::optional<WaitCycle> CycleFrom(Node& start) {
    struct Step {
      Node* node;
      std::vector<Node*> blockers;
      size_t next = 0;
    };
    std::vector<Step> path;
    const auto open = [&path](Node* node) {
      node->visit = Node::kOpen;
      node->depth = path.size();
      path.push_back({node, Blockers(*node)});
    };
    std::optional<WaitCycle> cycle;
    open(&start);
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next == step.blockers.size()) {
        step.node->visit = Node::kDone;
        path.pop_back();
        continue;
      }
      Node* const blocker = step.blockers[step.next++];
      if (blocker->visit == Node::kNew) {
        open(blocker);
        continue;
      }
      if (blocker->visit != Node::kOpen || cycle) continue;
      cycle.emplace();
      for (size_t i = blocker->depth; i < path.size(); ++i) cycle->push_back(TaskOf(*path[i].node));
    }
    return cycle;
  }

  std::vector<WaitQueue> seen_;
  std::vector<TaskSnapshot> snapshots_;
  std::map<uint64_t, std::pair<const TaskSnapshot*, size_t>> first_nodes_;  // by registry
  std::vector<Node> nodes_;  // in the order of snapshots_
  std::vector<bool> stood_;  // waited for other tasks all the time, by node
  std::deque<Queue> queues_;
};

}  // namespace

WaitGraph FindWaitCycles() { return Graph().Result(); }

std::string FormatWaitGraph(const WaitGraph& graph) {
  std::ostringstream text;
  for (const WaitCycle& cycle : graph.cycles) {
    text << "wait cycle of " << cycle.size() << (cycle.size() == 1 ? " task:\n" : " tasks:\n");
    for (size_t i = 0; i < cycle.size(); ++i) {
      text << "    " << cycle[i] << ", waits for task " << cycle[(i + 1) % cycle.size()].id << "\n";
    }
  }
  if (graph.unreachable.empty()) return text.str();
  text << graph.unreachable.size() << " tasks that nothing can wake:\n";
  const size_t shown = std::min(graph.unreachable.size(), kMaxUnreachableShown);
  for (size_t i = 0; i < shown; ++i) text << "    " << graph.unreachable[i] << "\n";
  if (shown < graph.unreachable.size()) {
    text << "    and " << graph.unreachable.size() - shown << " more\n";
  }
  return text.str();
}

}  // namespace nursery
