#include <algorithm>
#include <array>
#include <unordered_map>

#include "server/spec/job_compiler.h"
#include "server/spec/json.h"

namespace nursery::spec {
namespace {

constexpr std::array<std::string_view, 10> kReserved = {
    "index", "key", "output", "param", "job", "attempt", "sem", "port", "json", "shell"};

// What a key that is made of nothing but the item can see.
class ItemScope final : public Scope {
 public:
  ItemScope(const ItemSet& items, int64_t index) : items_(items), index_(index) {}

  absl::StatusOr<Value> Item(NodeIndex) const override { return items_.At(index_); }
  int64_t Index(NodeIndex) const override { return index_; }
  std::string Key(NodeIndex) const override { return ""; }
  absl::StatusOr<std::string> Output(NodeIndex) const override { return std::string(); }
  std::string JobId() const override { return ""; }
  std::string JobName() const override { return ""; }
  absl::StatusOr<std::string> JobDir() const override { return std::string(); }
  int Attempt() const override { return 0; }
  std::string Units(int) const override { return ""; }

 private:
  const ItemSet& items_;
  const int64_t index_;
};

bool IsMadeOfItem(const Template& key, NodeIndex map) {
  return std::all_of(key.Pieces().begin(), key.Pieces().end(), [map](const Template::Piece& piece) {
    if (piece.expression == nullptr) return true;
    const Expression::Source source = piece.expression->source;
    return piece.expression->subject == map &&
           (source == Expression::Source::kItem || source == Expression::Source::kIndex);
  });
}

// Which items have one key; empty: none of the first kMaxKeysChecked. The rest is checked when the
// map runs, and so is a key that cannot be made.
std::string SameKey(const Template& key, const ItemSet& items) {
  std::unordered_map<std::string, int64_t> seen;
  for (int64_t i = 0; i < std::min(items.size(), kMaxKeysChecked); ++i) {
    const absl::StatusOr<std::string> text = key.Expand(ItemScope(items, i));
    if (!text.ok()) return "";
    const auto [first, is_new] = seen.emplace(*text, i);
    if (!is_new) {
      return "items " + std::to_string(first->second) + " and " + std::to_string(i) +
             " have the same key '" + *text + "'";
    }
  }
  return "";
}

}  // namespace

void JobCompiler::CompileMap(const v1::MapSpec& spec, Frame& frame, Node& node) {
  auto map = std::make_unique<Map>();
  CompileItems(spec.items(), frame, *map);
  const ItemSet* items = std::get_if<ItemSet>(&map->items);
  map->join = CompileJoin(spec.join(), items == nullptr ? -1 : items->size());
  if (CheckRange("workers", spec.workers(), 0, kMaxWorkers)) {
    map->workers = spec.workers();
  }
  frame.item_name = CompileItemName(spec, frame);
  if (!spec.key().empty()) CompileKey(spec, frame, node, *map);
  node.map = std::move(map);
  node.first_child = static_cast<NodeIndex>(job_->nodes.size());
  node.child_count = 1;
  Node& child = job_->nodes.emplace_back();
  child.parent = node.index;
  specs_.push_back(&spec.node());
  const FieldPath::Segment segment = path_.Enter("node");
  if (!spec.node().name().empty()) {
    Fail("name", "items have no name: their paths are made of the map's name and the item");
  }
  if (spec.node().needs_size() > 0) {
    Fail("needs", "the node of a map has no siblings; put the needs on the map");
  }
  CompileNode(node.first_child, spec.node(), frame);
  frame.item_name.clear();  // the map's own `finally` has no item
}

void JobCompiler::CompileKey(const v1::MapSpec& spec, const Frame& frame, const Node& node,
                             Map& map) {
  map.key = CompileTemplate("key", spec.key(), frame);
  if (map.key->IsLiteral()) {
    Fail("key", "'" + spec.key() + "' is the same for every item; use an expression of the item");
    return;
  }
  for (const Template::Piece& piece : map.key->Pieces()) {
    if (piece.expression != nullptr && piece.expression->source == Expression::Source::kKey &&
        piece.expression->subject == node.index) {
      Fail("key", "'key' cannot be made of itself");
    }
  }
  // Lists cost their bytes; other items, and keys of other things, are left to the run.
  const bool cheap = spec.items().has_list() && map.key->Pieces().size() <= kMaxKeyPiecesChecked;
  if (!cheap || !IsMadeOfItem(*map.key, node.index)) return;
  const std::string twice = SameKey(*map.key, std::get<ItemSet>(map.items));
  if (!twice.empty()) Fail("key", twice);
}

std::string JobCompiler::CompileItemName(const v1::MapSpec& spec, const Frame& frame) {
  const std::string name = spec.as().empty() ? "item" : spec.as();
  const bool reserved = std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
  if (!IsIdentifier(name) || reserved) {
    Fail("as", "'" + name.substr(0, kMaxNameBytes) +
                   "' must be letters, digits and _, and no name that expressions know");
  }
  for (const Frame* outer = &frame; outer != nullptr; outer = outer->outer) {
    if (outer->item_name != name) continue;
    const std::string path = job_->PathOf(outer->node);
    Fail("as", "'" + name + "' is the item of the enclosing map (" +
                   (path.empty() ? "the root" : path) +
                   ") already; give this one another name, as in `as: cell`");
    break;
  }
  return name;
}

void JobCompiler::CompileItems(const v1::Items& spec, const Frame& frame, Map& map) {
  const FieldPath::Segment segment = path_.Enter("items");
  std::optional<ItemSet> items;
  switch (spec.source_case()) {
    case v1::Items::kList:
      items = CompileList(spec.list());
      break;
    case v1::Items::kRange:
      items = CompileRange(spec.range());
      break;
    case v1::Items::kMatrix:
      items = CompileMatrix(spec.matrix());
      break;
    case v1::Items::kOutputOf: {
      const FieldPath::Segment field = path_.Enter("output_of");
      map.items = ItemsOfOutput{CompileOutputOf(spec.output_of(), frame)};
      return;
    }
    case v1::Items::kServerFile:
      NotInThisVersion("server_file");
      return;
    case v1::Items::SOURCE_NOT_SET:
      Fail("", "is required: a list, {file}, {output_of}, {range} or {matrix}");
      return;
  }
  if (!items.has_value()) return;
  const int64_t limit = options_.limits.items_per_map;
  if (items->size() > limit) {
    Fail("", std::to_string(items->size()) + " items, over the limit of " + std::to_string(limit));
  }
  map.items = *std::move(items);
}

std::optional<ItemSet> JobCompiler::CompileList(const v1::ItemList& spec) {
  const FieldPath::Segment segment = path_.Enter("list");
  const bool is_json = spec.format() == v1::ITEM_FORMAT_JSON;
  std::vector<uint32_t> ends;
  ends.reserve(static_cast<size_t>(spec.sizes_size()));
  uint64_t end = 0;
  for (const uint32_t size : spec.sizes()) {
    const uint64_t begin = end;
    end += size;
    if (end > spec.data().size()) break;
    ends.push_back(static_cast<uint32_t>(end));
    const std::string_view item = std::string_view(spec.data()).substr(begin, size);
    if (is_json && !IsJson(item)) {
      Fail("data", "item " + std::to_string(ends.size() - 1) + " is not one JSON value");
      return std::nullopt;
    }
  }
  if (end != spec.data().size()) {
    Fail("sizes", "add up to " + std::to_string(end) + " bytes, but data has " +
                      std::to_string(spec.data().size()));
    return std::nullopt;
  }
  return ItemSet::List(spec.data(), std::move(ends),
                       is_json ? Value::Type::kJson : Value::Type::kString);
}

std::optional<ItemSet> JobCompiler::CompileRange(const v1::RangeItems& spec) {
  const FieldPath::Segment segment = path_.Enter("range");
  const int64_t step = spec.step() == 0 ? 1 : spec.step();
  // 128 bits: the distance of two 64-bit numbers, and its quotient rounded up, do not overflow.
  using Wide = __int128;
  const Wide distance = static_cast<Wide>(spec.to()) - spec.from();
  const Wide count = distance / step + (distance % step != 0 ? 1 : 0);
  if ((distance > 0) != (step > 0) && distance != 0) {
    Fail("step", std::to_string(step) + " never gets from " + std::to_string(spec.from()) + " to " +
                     std::to_string(spec.to()) +
                     (spec.to() == 0 ? "; is `to`, the end, missing?" : ""));
    return std::nullopt;
  }
  if (count > options_.limits.items_per_map) {
    Fail("", "gives more items than the limit of " + std::to_string(options_.limits.items_per_map));
    return std::nullopt;
  }
  return ItemSet::Range(spec.from(), step, static_cast<int64_t>(count));
}

std::optional<ItemSet> JobCompiler::CompileMatrix(const v1::MatrixItems& spec) {
  const FieldPath::Segment segment = path_.Enter("matrix");
  const int64_t limit =
      spec.exclude_size() > 0 ? kMaxFilteredCombinations : options_.limits.items_per_map;
  if (spec.axes_size() == 0 || spec.axes_size() > kMaxAxes) {
    Fail("", "must have 1 to " + std::to_string(kMaxAxes) + " axes");
    return std::nullopt;
  }
  if (spec.exclude_size() > kMaxExclusions) {
    Fail("exclude", std::to_string(spec.exclude_size()) + " exclusions, over the limit of " +
                        std::to_string(kMaxExclusions));
    return std::nullopt;
  }
  std::vector<ItemSet::Axis> axes;
  int64_t count = 1;
  for (int i = 0; i < spec.axes_size(); ++i) {
    const FieldPath::Segment list = path_.Enter("axes");
    const FieldPath::Segment item = path_.Enter(static_cast<size_t>(i));
    const v1::MatrixAxis& axis = spec.axes(i);
    const bool twice = std::any_of(axes.begin(), axes.end(),
                                   [&](const ItemSet::Axis& a) { return a.name == axis.name(); });
    if (!IsIdentifier(axis.name())) {
      Fail("", "'" + axis.name() + "' must be letters, digits and _, no digit first");
    }
    if (twice) Fail("", "'" + axis.name() + "' is an axis already");
    if (axis.values_size() == 0) Fail("values", "must not be empty");
    axes.push_back({axis.name(), {axis.values().begin(), axis.values().end()}});
    count *= axis.values_size();
    if (count > limit) {
      Fail("", "makes more combinations than the limit of " + std::to_string(limit));
      return std::nullopt;
    }
  }
  std::vector<ItemSet::Exclusion> exclusions;
  for (int i = 0; i < spec.exclude_size(); ++i) {
    const FieldPath::Segment list = path_.Enter("exclude");
    const FieldPath::Segment item = path_.Enter(static_cast<size_t>(i));
    if (auto exclusion = CompileExclusion(spec.exclude(i), axes)) exclusions.push_back(*exclusion);
  }
  return ItemSet::Matrix(std::move(axes), exclusions);
}

std::optional<ItemSet::Exclusion> JobCompiler::CompileExclusion(
    const v1::MatrixExclude& spec, const std::vector<ItemSet::Axis>& axes) {
  if (spec.values().empty()) {
    Fail("", "must name at least one axis");
    return std::nullopt;
  }
  ItemSet::Exclusion exclusion(axes.size(), -1);
  size_t matched = 0;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    const auto wanted = spec.values().find(axes[axis].name);
    if (wanted == spec.values().end()) continue;
    ++matched;
    const std::vector<std::string>& values = axes[axis].values;
    const auto value = std::find(values.begin(), values.end(), wanted->second);
    if (value == values.end() && !values.empty()) {
      const FieldPath::Segment segment = path_.Enter("values");
      Fail(axes[axis].name,
           "'" + wanted->second + "' is no value of this axis; values: " + Listed(values));
      return std::nullopt;
    }
    exclusion[axis] = static_cast<int>(value - values.begin());
  }
  if (matched == spec.values().size()) return exclusion;
  std::vector<std::string> names;
  for (const ItemSet::Axis& axis : axes) names.push_back(axis.name);
  Fail("", "names something that is no axis; axes: " + Listed(names));
  return std::nullopt;
}

}  // namespace nursery::spec
