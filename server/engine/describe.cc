// How a job looks from outside: the resource, and the tree as lines.
#include <algorithm>
#include <limits>
#include <utility>

#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/job.h"
#include "server/engine/limits.h"
#include "server/engine/most_urgent.h"

namespace nursery::engine {
namespace {

std::string_view ActionName(const spec::Node& node) {
  if (node.action == nullptr) return "";
  return kActionNames[node.action->index()];
}

// The siblings that `node` still waits for, as in "fetch, clean".
std::string UnendedNeeds(const Node& node) {
  std::string names;
  for (spec::NodeIndex need : node.spec.needs()) {
    const auto place = static_cast<size_t>(need - node.parent->spec.first_child);
    const Node& sibling = *node.parent->children()[place];
    if (IsTerminal(sibling.status.state)) continue;
    names += (names.empty() ? "" : ", ") + sibling.spec.name;
  }
  return names;
}

// What keeps `node` from starting when no need does.
v1::WaitReason WaitOfReady(const Node& node) {
  const bool limited = node.parent != nullptr && node.parent->spec.group != nullptr &&
                       node.parent->spec.group->limit > 0;
  return limited ? v1::WAIT_REASON_GROUP_LIMIT : v1::WAIT_REASON_READY;
}

// The sibling whose end keeps `node` from starting; null: none.
const Node* BrokenNeed(const Node& node) {
  for (spec::NodeIndex need : node.spec.needs()) {
    const auto place = static_cast<size_t>(need - node.parent->spec.first_child);
    const Node& sibling = *node.parent->children()[place];
    const NodeState state = sibling.status.state;
    if (IsTerminal(state) && state != NodeState::kSucceeded) return &sibling;
  }
  return nullptr;
}

NodeView MakeView(const Runtime& run, const Node& node, int depth) {
  const Tree& tree = run.tree;
  NodeView view;
  view.path = node.Path();
  view.name = node.item >= 0 ? view.path.substr(node.parent->Path().size()) : node.spec.name;
  if (depth == 0) view.name = tree.job().name;
  view.depth = depth;
  view.kind = node.spec.kind;
  view.state = node.status.state;
  view.outcome = node.status.outcome;
  view.action = ActionName(node.spec);
  view.wait = node.activity().wait;
  view.wait_object = node.activity().wait_object;
  if (view.wait == v1::WAIT_REASON_UNSPECIFIED && view.state == NodeState::kPending) {
    view.wait_object = UnendedNeeds(node);
    view.wait = view.wait_object.empty() ? WaitOfReady(node) : v1::WAIT_REASON_NEEDS;
  }
  const Time until = node.ended_at == Time() ? tree.clock().Now() : node.ended_at;
  if (node.started_at != Time()) {
    view.elapsed = until - node.started_at;
    view.started = ToWall(tree.clock(), node.started_at);
  }
  if (node.ended_at != Time()) view.ended = ToWall(tree.clock(), node.ended_at);
  view.attempt = node.attempt;
  if (node.spec.options->retry != nullptr)
    view.max_attempts = node.spec.options->retry->max_attempts;
  view.pid = node.activity().pid;
  view.cause = node.cause_kind;
  if (node.cause != nullptr) view.reason = node.cause->reason();
  // Its group may have been decided first; what keeps it from starting is the nearer reason.
  if (const Node* need = BrokenNeed(node); need != nullptr && view.state == NodeState::kSkipped) {
    view.reason = "needs " + need->spec.name;
  }
  if (node.spec.kind == spec::Kind::kMap) {
    const spec::Node& item = tree.job().node(node.spec.first_child);
    if (item.options->retry != nullptr) view.max_attempts = item.options->retry->max_attempts;
    view.action = ActionName(item);
  }
  if (node.map == nullptr) return view;
  const MapState& map = *node.map;
  view.items = map.total;
  view.items_by_state = map.by_state;
  view.failed_items = map.failed;
  view.workers = node.spec.map->workers;
  if (view.workers == 0) {
    view.workers = run.pools[tree.job().node(node.spec.first_child).pool]->slots();
  }
  return view;
}

// Nodes with their depths.
using Lines = std::vector<std::pair<const Node*, int>>;

// The node, at `depth`, and what is below it down to `deepest`.
void AddLines(const Node& node, int depth, int deepest, Lines* lines) {
  lines->emplace_back(&node, depth);
  if (depth == deepest) return;
  for (const auto& child : node.children()) AddLines(*child, depth + 1, deepest, lines);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) {
    if (item->spec.kind != spec::Kind::kAction) AddLines(*item, depth + 1, deepest, lines);
  }
}

int DepthOf(const Node& node) {
  int depth = 0;
  for (const Node* each = &node; each->parent != nullptr; each = each->parent) ++depth;
  return depth;
}

// The action whose output is the job's: the root, or of a group the one child that no other needs.
const Node* LastAction(const Node& node) {
  if (node.spec.kind == spec::Kind::kAction) return &node;
  const Node* last = nullptr;
  for (const auto& child : node.children()) {
    if (!child->spec.dependents().empty()) continue;
    if (last != nullptr) return nullptr;
    last = child.get();
  }
  return last == nullptr ? nullptr : LastAction(*last);
}

}  // namespace

int DeepestOf(int top, int depth) {
  const int most = std::numeric_limits<int>::max();
  return depth == 0 || depth > most - top ? most : top + depth;
}

std::vector<NodeView> KeepUrgent(std::vector<NodeView> lines, size_t limit) {
  if (lines.size() <= limit) return lines;
  std::vector<LineState> states;
  for (const NodeView& line : lines) states.emplace_back(line.depth, line.state);
  std::vector<NodeView> kept;
  for (size_t i : MostUrgent(states, limit)) kept.push_back(std::move(lines[i]));
  return kept;
}

bool IsAtOrBelow(std::string_view path, std::string_view root) {
  if (root.empty()) return true;
  if (!path.starts_with(root)) return false;
  return path.size() == root.size() || path[root.size()] == '/' || path[root.size()] == '[';
}

std::vector<NodeView> Job::View(size_t limit, const std::string& path, int depth) const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->View(limit, path, depth);
  std::vector<NodeView> views;
  Tree& tree = *now.live->tree;
  tree.Locked([&] {
    const Node* const top = FindNode(tree.root(), path);
    if (top == nullptr) return;
    const int above = DepthOf(*top);
    Lines lines;
    AddLines(*top, above, DeepestOf(above, depth), &lines);
    std::vector<LineState> states;
    for (const auto& [node, at] : lines) states.emplace_back(at, node->status.state);
    for (size_t i : MostUrgent(states, limit)) {
      views.push_back(MakeView(now.live->runtime, *lines[i].first, lines[i].second));
    }
  });
  return views;
}

std::optional<NodeView> Job::ViewOf(const std::string& path) const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->ViewOf(path);
  Tree& tree = *now.live->tree;
  return tree.Locked([&]() -> std::optional<NodeView> {
    const Node* const node = FindNode(tree.root(), path);
    if (node == nullptr) return std::nullopt;
    return MakeView(now.live->runtime, *node, DepthOf(*node));
  });
}

v1::Job Job::Describe() const {
  const Form now = form();
  return now.live == nullptr ? now.ended->Describe() : DescribeLive(*now.live);
}

v1::Job Job::DescribeLive(const Live& live) const {
  Tree& tree = *live.tree;
  const spec::Job& spec = tree.job();
  v1::Job job;
  job.set_name("jobs/" + id());
  job.set_id(id());
  job.set_display_name(spec.name);
  tree.Locked([&] {
    const Node& root = tree.root();
    job.set_state(ToProto(root.status.state));
    job.set_done(IsTerminal(root.status.state));
    job.set_outcome(ToProto(root.status.outcome));
    if (root.cause != nullptr) *job.mutable_cause() = *root.cause;
    if (root.started_at != Time())
      *job.mutable_start_time() = ToProto(ToWall(clock_, root.started_at));
    const Node* last = LastAction(root);
    const Output* const output = last == nullptr ? nullptr : last->activity().output.get();
    if (output != nullptr) {
      job.set_output_truncated(output->total() > kOutputInEvent);
      if (!job.output_truncated()) job.set_output(output->Excerpt());
    }
    if (root.ended_at != Time()) *job.mutable_end_time() = ToProto(ToWall(clock_, root.ended_at));
  });
  int64_t error_count;
  for (v1::NodeError& error : tree.Errors(&error_count)) *job.add_errors() = std::move(error);
  job.set_error_count(error_count);
  const std::array<int64_t, 8> counts = tree.Counts();
  *job.mutable_counts() = ToProto(counts, tree.tolerated());
  *job.mutable_item_counts() = tree.ItemCounts();
  int64_t nodes = 0;
  for (int64_t count : counts) nodes += count;
  job.set_node_count(nodes);
  *job.mutable_max_teardown() = ToProto(spec.max_teardown);
  job.set_durability(v1::DURABILITY_EPHEMERAL);
  job.set_submitter(options_.submitter);
  job.set_spec_digest(options_.spec_digest);
  *job.mutable_update_time() = ToProto(clock_.WallNow());
  job.set_priority(spec.node(spec.root()).priority);
  for (const auto& [name, value] : spec.labels) (*job.mutable_labels())[name] = value;
  for (const std::string& limit : spec.limits_not_enforced) job.add_limits_not_enforced(limit);
  const std::array<Duration, kPhases> spent = tree.Spent();
  v1::TimeSpent& time = *job.mutable_time_spent();
  *time.mutable_queued() = ToProto(spent[static_cast<size_t>(Phase::kQueued)]);
  *time.mutable_waited() = ToProto(spent[static_cast<size_t>(Phase::kWaiting)]);
  *time.mutable_ran() = ToProto(spent[static_cast<size_t>(Phase::kRunning)]);
  *time.mutable_backed_off() = ToProto(spent[static_cast<size_t>(Phase::kBackingOff)]);
  for (std::string& name : tree.WaitedFor()) time.add_waited_for(std::move(name));
  job.set_last_seq(tree.last_seq());
  if (const v1::CancelReceipt receipt = LastCancel(); !receipt.job().empty()) {
    *job.mutable_last_cancel() = receipt;
  }
  SurvivorList escaped;
  escapees_->AddTo("", &escaped);
  for (v1::Survivor& each : escaped.named) *job.add_survivors() = std::move(each);
  job.set_survivor_count(escaped.count);
  *job.mutable_create_time() = ToProto(admitted_wall_);
  MutexLock lock(mutex_);
  const Time deadline = std::min(deadline_, callers_deadline_);
  if (deadline != kNever)
    *job.mutable_deadline() = ToProto(admitted_wall_ + (deadline - admitted_));
  job.set_deadline_source(callers_deadline_ == kNever ? deadline_source_ : "the caller's deadline");
  return job;
}

}  // namespace nursery::engine
