// Node: one live vertex of a running tree. The children of an open group exist from its opening,
// the items of a map only while they run.
//
// Thread safety: what changes is guarded by the mutex of the node's Tree.
#ifndef NURSERY_SERVER_ENGINE_NODE_H_
#define NURSERY_SERVER_ENGINE_NODE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nursery/core/context.h"
#include "nursery/v1/event.pb.h"
#include "server/engine/action.h"
#include "server/engine/bell.h"
#include "server/engine/finally.h"
#include "server/engine/join.h"
#include "server/engine/state_table.h"
#include "server/engine/text.h"
#include "server/spec/job.h"

namespace nursery::engine {

// What became of the work that one closing took down; filled while it ends.
struct Teardowns {
  // Instead of the nodes' own grace; nothing: theirs.
  explicit Teardowns(std::optional<Duration> the_grace = std::nullopt) : grace(the_grace) {}

  const std::optional<Duration> grace;
  std::atomic<int64_t> skipped{0};
  std::atomic<int64_t> interrupted{0};
  std::atomic<int64_t> terminated{0};
  std::atomic<int64_t> killed{0};
  std::atomic<int64_t> cleanups_run{0};
  std::atomic<int64_t> cleanups_skipped{0};
};

// Where a node's time goes.
enum class Phase : uint8_t { kIdle, kQueued, kWaiting, kRunning, kBackingOff };
inline constexpr int kPhases = 5;

// What is kept of an item that failed.
struct FailedItem {
  bool operator==(const FailedItem&) const = default;

  std::string name;  // "[17]", "[gcc-debug]"
  NodeState state = NodeState::kFailed;
  int attempt = 0;
  Duration elapsed{};
};

// What is kept of an item for those who read its map's output.
struct KeptItem {
  NodeState state = NodeState::kSkipped;
  std::shared_ptr<const Output> output;  // null: there is none, or the map's are over their limit
};

struct MapState {
  std::shared_ptr<const spec::ItemSet> items;
  int64_t total = 0;
  int64_t next = 0;                   // items from here on have not been taken
  std::array<int64_t, 8> by_state{};  // of the items that have ended, by NodeState
  int64_t tolerated = 0;
  std::vector<FailedItem> failed;  // the first kMaxShownItems of them
  std::vector<class Node*> live;
  // Ended but not logged yet.
  std::vector<int64_t> succeeded;
  std::vector<v1::ItemFailure> failures;
  Time flushed{};
  // One for each item when somebody reads the map's output.
  std::vector<KeptItem> kept;
  int64_t kept_bytes = 0;
};

// Of an open group.
struct GroupState {
  std::vector<std::unique_ptr<class Node>> children;
  std::vector<class Node*> ended;    // not yet seen by the group's runner
  std::unique_ptr<BellSender> bell;  // rung when something was added there
};

// What a node has from when it queues, waits or runs. Few of a large tree do at once.
struct Activity {
  Phase phase = Phase::kIdle;
  Time phase_since{};
  v1::WaitReason wait = v1::WAIT_REASON_UNSPECIFIED;
  std::string wait_object;
  int interruptions = 0;
  int last_exit_code = -1;                  // of an attempt that exited by itself
  int64_t pid = 0;                          // of the running attempt's leader
  bool cut_short = false;                   // the last attempt was ended from outside
  Survivors survivors;                      // of what runs
  std::shared_ptr<const CancelScope> work;  // while its task runs
  std::shared_ptr<const CancelScope> kill;  // while something of it can be killed
  // Of the last attempt that wrote, also while it runs; the same for streams that are merged.
  std::shared_ptr<const Output> output;
  std::shared_ptr<const Output> errors;
  int output_attempt = 0;
};

class Node {
 public:
  Node(const spec::Node& the_spec, Node* the_parent, int64_t the_item = -1)
      : spec(the_spec),
        parent(the_parent),
        item(the_item),
        in_item(the_item >= 0 || (the_parent != nullptr && the_parent->in_item)) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // "build/test", "fetch[17]", "" for the root.
  std::string Path() const;
  // "[17]" or "[key]": what the path of an item adds to its map's.
  std::string Label() const {
    return "[" + (key == nullptr ? std::to_string(item) : EscapeKey(*key)) + "]";
  }

  const std::vector<std::unique_ptr<Node>>& children() const {
    return group == nullptr ? kNoChildren : group->children;
  }
  // What it is doing; all unset for a node that does nothing.
  const Activity& activity() const { return activity_ == nullptr ? kNoActivity : *activity_; }
  Activity& MutableActivity() {
    if (activity_ == nullptr) activity_ = std::make_unique<Activity>();
    return *activity_;
  }
  // It has ended: what was written stays of interest, and what can be cancelled as long as its task
  // runs.
  void EndActivity();

  // Constant after construction.
  const spec::Node& spec;
  Node* const parent;
  const int64_t item;  // -1: not an item
  // An item of a map or below one: its events are logged only when it fails.
  const bool in_item;
  std::unique_ptr<const std::string> key;  // of an item whose map has keys

  // Guarded by the tree.
  NodeStatus status;
  CauseKind cause_kind = CauseKind::kNone;
  std::shared_ptr<const v1::Cause> cause;
  CountsAs counts_as = CountsAs::kFailure;
  bool after_failure = false;
  bool started = false;
  Teardown teardown = Teardown::kGraceful;
  EventKind below = EventKind::kCancel;  // what the closing that took it down is to those below
  int attempt = 0;
  Time started_at{};
  Time ended_at{};
  std::shared_ptr<Teardowns> teardowns;  // of that closing
  std::unique_ptr<GroupState> group;
  std::unique_ptr<MapState> map;  // of an open map

 private:
  static const Activity kNoActivity;
  static const std::vector<std::unique_ptr<Node>> kNoChildren;

  std::unique_ptr<Activity> activity_;
};
// A server bounds its memory by the number of live nodes.
static_assert(sizeof(Node) <= 160);

// The live node with that path at or below `from`; null: there is none (any more).
Node* FindNode(Node& from, const std::string& path);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_NODE_H_
