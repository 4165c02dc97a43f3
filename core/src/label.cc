#include "nursery/core/label.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "nursery/core/internal/frame_pool.h"

namespace nursery {

Label Label::Copy(std::string_view text) {
  Label copy;
  const size_t size = std::min<size_t>(text.size(), std::numeric_limits<uint32_t>::max());
  if (size == 0) return copy;
  auto* const data = static_cast<char*>(internal::AllocateFrame(size));
  std::memcpy(data, text.data(), size);
  copy.data_ = data;
  copy.size_ = static_cast<uint32_t>(size);
  copy.owned_ = true;
  return copy;
}

// What Copy has allocated is no constant.
void Label::Free() { internal::FreeFrame(const_cast<char*>(data_), size_); }

TaskName internal::Extended(const TaskName& name, std::string_view more) {
  return {std::string(name.text).append(" ").append(more), name.site};
}

}  // namespace nursery
