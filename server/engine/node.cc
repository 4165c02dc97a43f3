#include "server/engine/node.h"

namespace nursery::engine {

const Activity Node::kNoActivity;
const std::vector<std::unique_ptr<Node>> Node::kNoChildren;

void Node::EndActivity() {
  if (activity_ == nullptr) return;
  activity_->wait = v1::WAIT_REASON_UNSPECIFIED;
  activity_->pid = 0;
  const bool kept =
      activity_->output != nullptr || activity_->work != nullptr || activity_->kill != nullptr;
  if (!kept) activity_.reset();
}

std::string Node::Path() const {
  if (parent == nullptr) return spec.name.empty() || spec.parent == spec::kNoNode ? "" : spec.name;
  std::string path = parent->Path();
  if (item >= 0) return path + Label();
  if (!path.empty()) path += "/";
  return path + spec.name;
}

Node* FindNode(Node& from, const std::string& path) {
  if (from.Path() == path) return &from;
  const auto leads_there = [&path](const Node& child) {
    const std::string own = child.Path();
    return path.starts_with(own) &&
           (path.size() == own.size() || path[own.size()] == '/' || path[own.size()] == '[');
  };
  for (const auto& child : from.children()) {
    if (!leads_there(*child)) continue;
    if (Node* found = FindNode(*child, path)) return found;
  }
  if (from.map == nullptr) return nullptr;
  for (Node* item : from.map->live) {
    if (!leads_there(*item)) continue;
    if (Node* found = FindNode(*item, path)) return found;
  }
  return nullptr;
}

}  // namespace nursery::engine
