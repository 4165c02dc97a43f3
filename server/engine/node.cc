#include "server/engine/node.h"

namespace nursery::engine {

std::string Node::Path() const {
  if (parent == nullptr) return spec.name.empty() || spec.parent == spec::kNoNode ? "" : spec.name;
  std::string path = parent->Path();
  if (item >= 0) return path + Label();
  if (!path.empty()) path += "/";
  return path + spec.name;
}

}  // namespace nursery::engine
