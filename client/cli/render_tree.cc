#include <algorithm>
#include <array>
#include <utility>

#include "client/cli/render.h"
#include "client/cli/text.h"

namespace nursery::cli {
namespace {

using engine::NodeState;
using engine::NodeView;

// Beyond this, states would stand too far from the names they belong to.
constexpr size_t kMaxWidth = 100;
// What stands right of the states: times, and why something was skipped.
constexpr size_t kTailColumns = 15;
constexpr size_t kNarrowWidth = 60;
constexpr size_t kNarrowTailColumns = 7;
// No room for states and times any more.
constexpr size_t kLeastWidth = 30;
constexpr size_t kGap = 3;
constexpr size_t kBarColumns = 20;

// How much of the tree is folded away, the next only when the one before does not fit.
enum class Fold { kNothing, kEndedSubtrees, kEndedNodes, kPendingNodes };

struct Vertex {
  const NodeView* view = nullptr;
  std::vector<Vertex> children;
};

struct Line {
  std::string left;
  NodeState state = NodeState::kPending;
  bool has_state = false;
  std::string tail;
  bool tail_is_time = false;
};

bool Ended(const NodeView& view) { return engine::IsTerminal(view.state); }

std::string Words(engine::CauseKind cause) {
  std::string words(engine::Name(cause));
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

int64_t ItemsIn(const NodeView& view, NodeState state) {
  return view.items_by_state[static_cast<size_t>(state)];
}

// Items that came to an end of their own.
int64_t ItemsDone(const NodeView& view) {
  return ItemsIn(view, NodeState::kSucceeded) + ItemsIn(view, NodeState::kFailed) +
         ItemsIn(view, NodeState::kDeadlineExceeded);
}

std::string WaitOf(const NodeView& view) {
  switch (view.wait) {
    case v1::WAIT_REASON_NEEDS:
      return "waits for " + view.wait_object;
    case v1::WAIT_REASON_GROUP_LIMIT:
      return "waits for its group's limit";
    case v1::WAIT_REASON_SEMAPHORE:
      return "waits for semaphore " + view.wait_object;
    case v1::WAIT_REASON_POOL_SLOT:
      return "waits for a slot of pool " + view.wait_object;
    case v1::WAIT_REASON_CLEANUP_SLOT:
      return "waits for a clean-up slot";
    case v1::WAIT_REASON_KILL_GRACE:
      return "is being ended";
    case v1::WAIT_REASON_UNKILLABLE:
      return "cannot be killed";
    case v1::WAIT_REASON_BACKOFF:
      return "waits to try again";
    case v1::WAIT_REASON_NOT_BEFORE:
      return "waits for its not_before";
    default:
      return "";
  }
}

std::string Bar(int64_t done, int64_t total) {
  const auto full = static_cast<size_t>(static_cast<int64_t>(kBarColumns) * done / total);
  std::string bar;
  for (size_t i = 0; i < kBarColumns; ++i) bar += i < full ? "█" : "░";
  return bar;
}

std::string AttemptOf(int attempt, int of) {
  return "attempt " + std::to_string(attempt) + " of " + std::to_string(of);
}

std::vector<std::string> DetailsOfMap(const NodeView& view) {
  if (view.items == 0) return {"map"};
  const int64_t done = ItemsDone(view);
  std::vector<std::string> details = {"map " + Grouped(done) + "/" + Grouped(view.items)};
  const bool cut_off = Ended(view) && view.state != NodeState::kSucceeded;
  if (cut_off) return details;
  details.push_back(Bar(done, view.items));
  details.push_back(Counted(std::min(view.workers, view.items), "worker"));
  const int64_t failed = done - ItemsIn(view, NodeState::kSucceeded);
  if (failed > 0) details.push_back(Grouped(failed) + " failed");
  return details;
}

// What stands between a node's name and its state.
std::string DetailsOf(const NodeView& view) {
  std::vector<std::string> details;
  if (view.kind == spec::Kind::kMap) {
    details = DetailsOfMap(view);
  } else if (view.kind == spec::Kind::kAction && view.state != NodeState::kSkipped) {
    details.push_back(view.action);
    if (view.attempt > 1) details.push_back(AttemptOf(view.attempt, view.max_attempts));
  }
  if (const std::string wait = WaitOf(view); !wait.empty()) details.push_back(wait);
  if (view.state == NodeState::kCancelled) details.push_back("(" + Words(view.cause) + ")");
  std::string text;
  for (const std::string& each : details) text += (text.empty() ? "" : "  ") + each;
  return text;
}

// "2 succeeded, 1 cancelled (sibling failed)".
class Counts {
 public:
  void Add(NodeState state, engine::CauseKind cause, int64_t count) {
    const auto at = static_cast<size_t>(state);
    if (count == 0) return;
    counts_[at] += count;
    const bool same = causes_[at] == engine::CauseKind::kNone || causes_[at] == cause;
    causes_[at] = cause;
    mixed_[at] = mixed_[at] || !same;
  }

  std::string Text() const {
    static constexpr std::array<std::pair<NodeState, const char*>, 6> kWords = {
        {{NodeState::kSucceeded, "succeeded"},
         {NodeState::kFailed, "failed"},
         {NodeState::kDeadlineExceeded, "out of time"},
         {NodeState::kCancelled, "cancelled"},
         {NodeState::kSkipped, "skipped"},
         {NodeState::kPending, "pending"}}};
    std::string text;
    for (const auto& [state, word] : kWords) {
      const auto at = static_cast<size_t>(state);
      if (counts_[at] == 0) continue;
      text += (text.empty() ? "" : ", ") + Grouped(counts_[at]) + " " + word;
      const bool why = state == NodeState::kCancelled || state == NodeState::kSkipped;
      if (why && !mixed_[at] && causes_[at] != engine::CauseKind::kNone) {
        text += " (" + Words(causes_[at]) + ")";
      }
    }
    return text;
  }

 private:
  std::array<int64_t, 8> counts_{};
  std::array<engine::CauseKind, 8> causes_{};
  std::array<bool, 8> mixed_{};
};

// Why items of a map that was decided did not end by themselves.
engine::CauseKind CauseOfItems(const NodeView& map) {
  if (map.state == NodeState::kFailed) return engine::CauseKind::kSiblingFailed;
  if (map.state == NodeState::kSucceeded) return engine::CauseKind::kGroupDecided;
  return map.cause;
}

class TreePicture {
 public:
  TreePicture(const std::vector<NodeView>& nodes, Fold fold) : fold_(fold) {
    size_t next = 0;
    if (!nodes.empty()) root_ = Take(nodes, &next);
  }

  std::vector<Line> Lines() {
    if (root_.view == nullptr) return {};
    // Where all is well, that is said once.
    quiet_ = root_.view->state == NodeState::kSucceeded;
    AddNode(root_, "", Columns(root_.view->name), /*is_root=*/true);
    AddBelow(root_, "");
    return std::move(lines_);
  }

 private:
  static Vertex Take(const std::vector<NodeView>& nodes, size_t* next) {
    Vertex vertex{&nodes[(*next)++], {}};
    while (*next < nodes.size() && nodes[*next].depth > vertex.view->depth) {
      vertex.children.push_back(Take(nodes, next));
    }
    return vertex;
  }

  bool Folds(const Vertex& vertex) const {
    const NodeState state = vertex.view->state;
    if (fold_ < Fold::kEndedNodes) return false;
    if (state == NodeState::kPending) return fold_ >= Fold::kPendingNodes;
    return state == NodeState::kSucceeded || state == NodeState::kCancelled ||
           state == NodeState::kSkipped;
  }

  void AddNode(const Vertex& vertex, const std::string& prefix, size_t name_columns, bool is_root) {
    const NodeView& view = *vertex.view;
    Line line;
    line.left = prefix + Printable(view.name);
    if (const std::string details = DetailsOf(view); !details.empty()) {
      line.left = prefix + PadRight(Printable(view.name), name_columns) + "  " + details;
    }
    line.state = view.state;
    line.has_state = is_root || !quiet_ || view.state != NodeState::kSucceeded;
    if (view.state == NodeState::kSkipped) {
      const bool named = view.reason.starts_with("needs ");
      line.tail = named ? Printable(view.reason) : Words(view.cause);
    } else if (view.elapsed > Duration::zero() || Ended(view)) {
      line.tail = FormatDuration(view.elapsed);
      line.tail_is_time = true;
    }
    lines_.push_back(std::move(line));
  }

  void AddText(const std::string& text) { lines_.emplace_back().left = text; }

  void AddFailedItem(const NodeView& map, const engine::FailedItem& item, const std::string& prefix,
                     size_t name_columns) {
    Line line;
    line.left = prefix + PadRight(Printable(item.name), name_columns);
    if (!map.action.empty()) line.left += "  " + map.action;
    if (item.attempt > 1) line.left += "  " + AttemptOf(item.attempt, map.max_attempts);
    line.state = item.state;
    line.has_state = true;
    line.tail = FormatDuration(item.elapsed);
    line.tail_is_time = true;
    lines_.push_back(std::move(line));
  }

  // The items of a map that are told apart, and the number of all others.
  static std::string OtherItems(const NodeView& map) {
    if (!Ended(map) || map.state == NodeState::kSucceeded) return "";
    Counts others;
    for (size_t at = 0; at < map.items_by_state.size(); ++at) {
      const auto state = static_cast<NodeState>(at);
      int64_t count = map.items_by_state[at];
      for (const engine::FailedItem& item : map.failed_items) count -= item.state == state ? 1 : 0;
      others.Add(state, CauseOfItems(map), count);
    }
    return others.Text();
  }

  void AddBelow(const Vertex& vertex, const std::string& indent) {
    const NodeView& view = *vertex.view;
    const bool shut = fold_ >= Fold::kEndedSubtrees && view.state == NodeState::kSucceeded;
    if (shut && vertex.view != root_.view) return;
    std::vector<const Vertex*> shown;
    Counts folded;
    for (const Vertex& child : vertex.children) {
      if (!Folds(child)) {
        shown.push_back(&child);
      } else {
        folded.Add(child.view->state, child.view->cause, 1);
      }
    }
    std::string rest = folded.Text();
    if (view.kind == spec::Kind::kMap) rest = OtherItems(view);
    size_t columns = 0;
    for (const Vertex* child : shown) {
      columns = std::max(columns, Columns(Printable(child->view->name)));
    }
    for (const auto& item : view.failed_items) {
      columns = std::max(columns, Columns(Printable(item.name)));
    }
    size_t left = shown.size() + view.failed_items.size() + (rest.empty() ? 0 : 1);
    const auto branch = [&] { return indent + (--left == 0 ? "└─ " : "├─ "); };
    for (const engine::FailedItem& item : view.failed_items) {
      AddFailedItem(view, item, branch(), columns);
    }
    for (const Vertex* child : shown) {
      AddNode(*child, branch(), columns, /*is_root=*/false);
      AddBelow(*child, indent + (left == 0 ? "   " : "│  "));
    }
    if (!rest.empty()) AddText(branch() + rest);
  }

  const Fold fold_;
  Vertex root_;
  bool quiet_ = false;
  std::vector<Line> lines_;
};

const char* ColourOf(NodeState state) {
  switch (state) {
    case NodeState::kSucceeded:
      return "\x1b[32m";
    case NodeState::kFailed:
    case NodeState::kDeadlineExceeded:
      return "\x1b[31m";
    case NodeState::kCancelled:
      return "\x1b[33m";
    case NodeState::kRunning:
    case NodeState::kEnding:
      return "\x1b[36m";
    case NodeState::kPending:
    case NodeState::kSkipped:
      return "\x1b[2m";
  }
  return "";
}

// States end in one column, times in another.
std::string Compose(const Line& line, const RenderOptions& options, size_t time_columns) {
  const size_t width = std::min(options.width, kMaxWidth);
  const bool is_text = !line.has_state && line.tail.empty();
  if (is_text || width < kLeastWidth) return CutTo(line.left, width);
  const size_t tail_columns = options.width < kNarrowWidth ? kNarrowTailColumns : kTailColumns;
  const size_t edge = width - std::min(width, tail_columns + kGap);
  const std::string state = line.has_state ? std::string(engine::Name(line.state)) : "";
  const size_t room = edge - std::min(edge, state.size() + 1);
  std::string text = PadRight(CutTo(line.left, room), edge - std::min(edge, state.size()));
  text += options.colour && line.has_state ? ColourOf(line.state) + state + "\x1b[0m" : state;
  if (line.tail.empty()) return text;
  const std::string tail = line.tail_is_time ? PadLeft(line.tail, time_columns) : line.tail;
  return text + std::string(kGap, ' ') + CutTo(tail, tail_columns);
}

// The tree with as little folded as the height allows.
std::vector<Line> Fit(const std::vector<NodeView>& nodes, size_t height) {
  std::vector<Line> lines;
  for (Fold fold : {Fold::kNothing, Fold::kEndedSubtrees, Fold::kEndedNodes, Fold::kPendingNodes}) {
    lines = TreePicture(nodes, fold).Lines();
    if (height == 0 || lines.size() <= height) return lines;
  }
  const size_t kept = height - 1;
  const auto cut = static_cast<int64_t>(lines.size() - kept);
  lines.resize(kept);
  lines.emplace_back().left = "   … " + Counted(cut, "more line");
  return lines;
}

}  // namespace

std::vector<std::string> RenderTree(const std::vector<NodeView>& nodes, const v1::Job& job,
                                    const RenderOptions& options) {
  std::vector<std::string> output;
  if (job.state() == v1::NODE_STATE_SUCCEEDED) output = PrintableLines(job.output());
  size_t height = options.height;
  if (height > 0) {
    output.resize(std::min(output.size(), height / 2));
    height -= output.size();
  }
  const std::vector<Line> lines = Fit(nodes, height);
  size_t time_columns = 5;
  for (const Line& line : lines) {
    if (line.tail_is_time) time_columns = std::max(time_columns, line.tail.size());
  }
  std::vector<std::string> picture;
  for (const Line& line : lines) picture.push_back(Compose(line, options, time_columns));
  for (const std::string& line : output) picture.push_back(CutTo("   " + line, options.width));
  return picture;
}

}  // namespace nursery::cli
