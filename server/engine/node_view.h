// How the nodes of a tree look from outside.
//
// Thread safety: plain data.
#ifndef NURSERY_SERVER_ENGINE_NODE_VIEW_H_
#define NURSERY_SERVER_ENGINE_NODE_VIEW_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/node.h"

namespace nursery::engine {

// One line of the tree as it stands, parents before children.
struct NodeView {
  bool operator==(const NodeView&) const = default;

  std::string path;
  std::string name;
  int depth = 0;
  spec::Kind kind = spec::Kind::kAction;
  NodeState state = NodeState::kPending;
  Outcome outcome = Outcome::kUndecided;
  std::string action;  // "exec", "sleep", "call"
  v1::WaitReason wait = v1::WAIT_REASON_UNSPECIFIED;
  std::string wait_object;
  Duration elapsed{};
  WallTime started = WallTime::min();  // not yet
  WallTime ended = WallTime::max();    // not yet
  int attempt = 0;
  int max_attempts = 1;
  int64_t pid = 0;
  // Of a map.
  int64_t items = 0;
  std::array<int64_t, 8> items_by_state{};  // of those that have ended
  std::vector<FailedItem> failed_items;     // the first of them
  int64_t workers = 0;
  // Of a node that did not succeed: why.
  CauseKind cause = CauseKind::kNone;
  std::string reason;
};

// What the last attempt of a node has written, so far or in all.
struct OutputView {
  OutputView() = default;

  std::string path;
  int attempt = 0;
  std::shared_ptr<const Output> output;
  std::shared_ptr<const Output> errors;  // the same as output for streams that are merged
};

// The path is `root` or below it.
bool IsAtOrBelow(std::string_view path, std::string_view root);

// The depth of the deepest of `depth` levels below a node that is at depth `top`; 0: of all.
int DeepestOf(int top, int depth);

// At most `limit` of the lines, in the order of MostUrgent.
std::vector<NodeView> KeepUrgent(std::vector<NodeView> lines, size_t limit);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_NODE_VIEW_H_
