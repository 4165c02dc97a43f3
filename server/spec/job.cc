#include "server/spec/job.h"

#include <algorithm>

namespace nursery::spec {

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
