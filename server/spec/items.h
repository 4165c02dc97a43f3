// The items of a map: a blob with an offset table, a range, or a matrix, the last two made on
// demand. A million inline items cost their bytes and four bytes each.
//
// Thread safety: immutable after construction.
//
//   for (int64_t i = 0; i < items.size(); ++i) Start(items.At(i));
#ifndef NURSERY_SERVER_SPEC_ITEMS_H_
#define NURSERY_SERVER_SPEC_ITEMS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/spec/value.h"

namespace nursery::spec {

class ItemSet {
 public:
  struct Axis {
    std::string name;
    std::vector<std::string> values;
  };
  // For each axis the number of the excluded value, or -1 for any.
  using Exclusion = std::vector<int>;

  ItemSet() = default;
  // Item i is blob[ends[i - 1], ends[i]). `type` says how all of them are read.
  static ItemSet List(std::string blob, std::vector<uint32_t> ends, Value::Type type);
  // The lines of `text` without their newlines; a last line need not end in one.
  static ItemSet Lines(std::string_view text);
  // from, from + step, ...: `count` of them.
  static ItemSet Range(int64_t from, int64_t step, int64_t count);
  // All combinations, the last axis fastest, less the excluded ones. An item is a JSON object.
  static ItemSet Matrix(std::vector<Axis> axes, const std::vector<Exclusion>& exclusions);

  int64_t size() const;
  // 0 <= index < size().
  Value At(int64_t index) const;

 private:
  struct Blob {
    std::string bytes;
    std::vector<uint32_t> ends;
    Value::Type type;
  };
  struct Numbers {
    int64_t from;
    int64_t step;
    int64_t count;
  };
  struct Combinations {
    std::vector<Axis> axes;
    int64_t count;
    bool filtered;
    std::vector<uint32_t> kept;  // numbers of the combinations left, if filtered
  };

  std::variant<Blob, Numbers, Combinations> items_;
};

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_ITEMS_H_
