#include "server/spec/items.h"

#include "nursery/core/check.h"
#include "server/spec/json.h"

namespace nursery::spec {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

// For each axis the number of the value that combination `number` has.
std::vector<int> Choice(const std::vector<ItemSet::Axis>& axes, int64_t number) {
  std::vector<int> choice(axes.size());
  for (size_t axis = axes.size(); axis-- > 0;) {
    const auto size = static_cast<int64_t>(axes[axis].values.size());
    choice[axis] = static_cast<int>(number % size);
    number /= size;
  }
  return choice;
}

bool Excludes(const ItemSet::Exclusion& exclusion, const std::vector<int>& choice) {
  for (size_t axis = 0; axis < choice.size(); ++axis) {
    if (exclusion[axis] >= 0 && exclusion[axis] != choice[axis]) return false;
  }
  return true;
}

bool ExcludedByAny(const std::vector<ItemSet::Exclusion>& exclusions,
                   const std::vector<int>& choice) {
  for (const ItemSet::Exclusion& exclusion : exclusions) {
    if (Excludes(exclusion, choice)) return true;
  }
  return false;
}

Value ObjectOf(const std::vector<ItemSet::Axis>& axes, const std::vector<int>& choice) {
  std::string json = "{";
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    if (axis > 0) json += ',';
    json += JsonQuote(axes[axis].name) + ':';
    json += JsonQuote(axes[axis].values[static_cast<size_t>(choice[axis])]);
  }
  return Value::Json(json + '}');
}

}  // namespace

ItemSet ItemSet::List(std::string blob, std::vector<uint32_t> ends, Value::Type type) {
  NURSERY_CHECK(ends.empty() ? blob.empty() : ends.back() == blob.size())
      << "offsets do not fit the blob";
  ItemSet set;
  set.items_ = Blob{std::move(blob), std::move(ends), type};
  return set;
}

ItemSet ItemSet::Lines(std::string_view text) {
  Blob blob{{}, {}, Value::Type::kString};
  blob.bytes.reserve(text.size());
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    blob.bytes.append(text.substr(0, newline));
    blob.ends.push_back(static_cast<uint32_t>(blob.bytes.size()));
    text.remove_prefix(newline == text.npos ? text.size() : newline + 1);
  }
  ItemSet set;
  set.items_ = std::move(blob);
  return set;
}

ItemSet ItemSet::Range(int64_t from, int64_t step, int64_t count) {
  ItemSet set;
  set.items_ = Numbers{from, step, count};
  return set;
}

ItemSet ItemSet::Matrix(std::vector<Axis> axes, const std::vector<Exclusion>& exclusions) {
  Combinations all{std::move(axes), 1, !exclusions.empty(), {}};
  for (const Axis& axis : all.axes) all.count *= static_cast<int64_t>(axis.values.size());
  for (int64_t i = 0; all.filtered && i < all.count; ++i) {
    if (!ExcludedByAny(exclusions, Choice(all.axes, i))) {
      all.kept.push_back(static_cast<uint32_t>(i));
    }
  }
  if (all.filtered) all.count = static_cast<int64_t>(all.kept.size());
  ItemSet set;
  set.items_ = std::move(all);
  return set;
}

int64_t ItemSet::size() const {
  return std::visit(
      Overloaded{[](const Blob& blob) { return static_cast<int64_t>(blob.ends.size()); },
                 [](const Numbers& numbers) { return numbers.count; },
                 [](const Combinations& combinations) { return combinations.count; }},
      items_);
}

Value ItemSet::At(int64_t index) const {
  NURSERY_CHECK(index >= 0 && index < size()) << "item " << index << " of " << size();
  const auto at = static_cast<size_t>(index);
  if (const auto* blob = std::get_if<Blob>(&items_)) {
    const size_t begin = at == 0 ? 0 : blob->ends[at - 1];
    return {blob->type, blob->bytes.substr(begin, blob->ends[at] - begin)};
  }
  if (const auto* numbers = std::get_if<Numbers>(&items_)) {
    // The item is in range, the product alone may not be: unsigned, where that is no error.
    const auto step = static_cast<uint64_t>(numbers->step);
    const uint64_t item = static_cast<uint64_t>(numbers->from) + at * step;
    return Value::Number(static_cast<int64_t>(item));
  }
  const auto& combinations = std::get<Combinations>(items_);
  const int64_t number = combinations.filtered ? combinations.kept[at] : index;
  return ObjectOf(combinations.axes, Choice(combinations.axes, number));
}

}  // namespace nursery::spec
