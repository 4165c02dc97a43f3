#include "server/spec/job.h"

#include <algorithm>

namespace nursery::spec {

const std::vector<NodeIndex> Node::kNone;

std::shared_ptr<const NodeOptions> Node::Defaults() {
  static const auto defaults = std::make_shared<const NodeOptions>();
  return defaults;
}

std::string Job::PathOf(NodeIndex index) const {
  std::vector<const Node*> chain;
  for (; index != root(); index = node(index).parent) chain.push_back(&node(index));
  std::string path;
  for (const Node* node : chain | std::views::reverse) {
    if (this->node(node->parent).kind == Kind::kMap) {
      path += "[]";
      continue;
    }
    if (!path.empty()) path += '/';
    path += node->name;
  }
  return path;
}

NodeIndex Job::Find(std::string_view path) const {
  NodeIndex at = root();
  while (!path.empty()) {
    const Node& from = node(at);
    if (from.kind == Kind::kMap) {
      const size_t end = path.find(']');
      if (!path.starts_with('[') || end == std::string_view::npos) return kNoNode;
      path.remove_prefix(end + 1);
      at = from.first_child;
      continue;
    }
    if (at != root()) {
      if (!path.starts_with('/')) return kNoNode;
      path.remove_prefix(1);
    }
    const std::string_view name = path.substr(0, path.find_first_of("/["));
    const auto children = Children(at);
    const auto child =
        std::ranges::find_if(children, [&](NodeIndex index) { return node(index).name == name; });
    if (name.empty() || child == children.end()) return kNoNode;
    path.remove_prefix(name.size());
    at = *child;
  }
  return at;
}

std::vector<const EnvLayer::Variable*> Environment(const Exec& exec) {
  std::vector<const EnvLayer*> layers;
  for (const EnvLayer* layer = exec.env.get(); layer != nullptr; layer = layer->outer.get()) {
    layers.push_back(layer);
  }
  std::vector<const EnvLayer::Variable*> variables;
  for (const EnvLayer* layer : layers | std::views::reverse) {
    for (const EnvLayer::Variable& variable : layer->variables) variables.push_back(&variable);
  }
  return variables;
}

}  // namespace nursery::spec
