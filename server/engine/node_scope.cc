#include "server/engine/node_scope.h"

#include <unistd.h>

#include <cctype>

#include "absl/time/time.h"
#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/spec/json.h"

namespace nursery::engine {
namespace {

// The name of an environment variable: upper case, everything else an underscore.
std::string VariableName(std::string_view prefix, std::string_view name) {
  std::string variable(prefix);
  for (char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    variable += std::isalnum(byte) != 0 ? static_cast<char>(std::toupper(byte)) : '_';
  }
  return variable;
}

std::string Rfc3339(std::chrono::system_clock::time_point time) {
  return absl::FormatTime(absl::RFC3339_full, absl::FromChrono(time), absl::UTCTimeZone());
}

// One line of a map's output: {"index":0,"item":...,"outcome":"SUCCEEDED","output":"..."}.
std::string ItemLine(const MapState& map, int64_t index, const std::string& output) {
  return "{\"index\":" + std::to_string(index) + ",\"item\":" + map.items->At(index).ToJson() +
         ",\"outcome\":\"SUCCEEDED\",\"output\":" + spec::JsonQuote(output) + "}\n";
}

// The outputs of the items that succeeded, in the order of the items; `format` makes a line of
// each.
absl::StatusOr<std::string> MapOutput(
    const Tree& tree, const Node& node,
    const std::function<std::string(const MapState&, int64_t, const std::string&)>& format) {
  return tree.Locked([&]() -> absl::StatusOr<std::string> {
    std::string text;
    const MapState& map = *node.map;
    for (size_t i = 0; i < map.outputs.size(); ++i) {
      if (map.outputs[i] == nullptr) continue;
      absl::StatusOr<std::string> output = map.outputs[i]->Text();
      if (!output.ok()) {
        return Annotate(output.status(), node.Path() + "[" + std::to_string(i) + "]");
      }
      text += format(map, static_cast<int64_t>(i), *output);
    }
    return text;
  });
}

}  // namespace

const Node& NodeScope::ItemNode(spec::NodeIndex map) const {
  const Node* each = &node_;
  while (each->item < 0 || each->parent->spec.index != map) {
    each = each->parent;
    NURSERY_CHECK(each != nullptr) << "validation lets only nodes below a map see its items";
  }
  return *each;
}

absl::StatusOr<spec::Value> NodeScope::Item(spec::NodeIndex map) const {
  const Node& item = ItemNode(map);
  return item.parent->map->items->At(item.item);
}

int64_t NodeScope::Index(spec::NodeIndex map) const { return ItemNode(map).item; }

std::string NodeScope::Key(spec::NodeIndex map) const {
  const Node& item = ItemNode(map);
  return item.key.empty() ? std::to_string(item.item) : item.key;
}

const Node& NodeScope::Sibling(spec::NodeIndex sibling) const {
  const spec::NodeIndex group = run_.tree.job().node(sibling).parent;
  const Node* each = &node_;
  while (each->parent != nullptr && each->parent->spec.index != group) each = each->parent;
  NURSERY_CHECK(each->parent != nullptr) << "validation lets a node see only its siblings";
  const auto place = static_cast<size_t>(sibling - each->parent->spec.first_child);
  return *each->parent->children[place];
}

absl::StatusOr<std::string> NodeScope::Output(spec::NodeIndex sibling) const {
  const Node& node = Sibling(sibling);
  const std::shared_ptr<const engine::Output> output =
      run_.tree.Locked([&] { return node.output; });
  if (output == nullptr) return std::string();
  absl::StatusOr<std::string> text = output->Text();
  return text.ok() ? text : Annotate(text.status(), "output of " + node.Path());
}

std::string NodeScope::Units(int semaphore) const {
  const spec::Semaphore& wanted = run_.tree.job().semaphores[static_cast<size_t>(semaphore)];
  for (const Hold& hold : holds_) {
    if (&hold.of().spec() == &wanted) return hold.Units();
  }
  return "";
}

absl::StatusOr<int> NodeScope::OpenOutput(spec::NodeIndex sibling) const {
  const Node& node = Sibling(sibling);
  absl::StatusOr<int> opened;
  if (node.spec.kind == spec::Kind::kMap) {
    absl::StatusOr<std::string> lines = MapOutput(run_.tree, node, ItemLine);
    opened = lines.ok() ? OpenText(*lines) : absl::StatusOr<int>(lines.status());
  } else {
    const std::shared_ptr<const engine::Output> output =
        run_.tree.Locked([&] { return node.output; });
    opened = output == nullptr ? OpenText("") : output->Open();
  }
  return opened.ok() ? opened : Annotate(opened.status(), "stdin from " + node.Path());
}

std::vector<std::pair<std::string, std::string>> NodeScope::Environment(Time deadline) const {
  std::vector<std::pair<std::string, std::string>> variables = {
      {"NURSERY_JOB_ID", run_.tree.id()},
      {"NURSERY_PATH", node_.Path()},
      {"NURSERY_ATTEMPT", std::to_string(node_.attempt)}};
  if (deadline != kNever) {
    variables.emplace_back("NURSERY_DEADLINE", Rfc3339(ToWall(run_.tree.clock(), deadline)));
  }
  for (const Hold& hold : holds_) {
    if (hold.Units().empty()) continue;
    variables.emplace_back(VariableName("NURSERY_SEM_", hold.of().spec().name), hold.Units());
  }
  const Node* item = &node_;
  while (item != nullptr && item->item < 0) item = item->parent;
  if (item == nullptr) return variables;
  const spec::Value value = item->parent->map->items->At(item->item);
  variables.emplace_back("NURSERY_ITEM", value.Text());
  variables.emplace_back("NURSERY_INDEX", std::to_string(item->item));
  for (const std::string& name : spec::JsonMemberNames(value.text)) {
    absl::StatusOr<spec::Value> field = value.Field(name);
    if (field.ok()) variables.emplace_back(VariableName("NURSERY_ITEM_", name), field->Text());
  }
  return variables;
}

absl::StatusOr<std::shared_ptr<const spec::ItemSet>> ItemsOfOutput(const Runtime& run,
                                                                   const Node& map,
                                                                   spec::NodeIndex sibling) {
  const std::vector<Hold> none;
  const NodeScope scope(run, map, none);
  absl::StatusOr<int> opened = scope.OpenOutput(sibling);
  if (!opened.ok()) return opened.status();
  std::string text;
  char buffer[1 << 16];
  for (ssize_t got; (got = read(*opened, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(*opened);
  return std::make_shared<const spec::ItemSet>(spec::ItemSet::Lines(text));
}

}  // namespace nursery::engine
