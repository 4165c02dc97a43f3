#include "server/engine/node.h"

namespace nursery::engine {

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
  for (const auto& child : from.children) {
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
