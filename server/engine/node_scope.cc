#include "server/engine/node_scope.h"

#include <unistd.h>

#include <cctype>
#include <cerrno>

#include "absl/time/time.h"
#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/engine/limits.h"
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

absl::Status NoOutput(const Tree& tree, const Node& node) {
  const NodeState state = tree.Locked([&] { return node.status.state; });
  return Error(absl::StatusCode::kFailedPrecondition,
               "there is none: the node is " + std::string(Name(state)));
}

// Calls `visit` with every item of `map`, in their order, and the text of its output. The map has
// ended: nothing of it changes any more. An error is about the first item whose output cannot be
// read.
absl::Status VisitItems(
    const Tree& tree, const Node& map,
    const std::function<void(int64_t index, const KeptItem& item, std::string output)>& visit) {
  const MapState* state = tree.Locked([&] { return map.map.get(); });
  if (state == nullptr) return NoOutput(tree, map);
  if (state->kept_bytes > kOutputSpool) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "the outputs of its items are " + std::to_string(state->kept_bytes) +
                     " bytes, over the limit of " + std::to_string(kOutputSpool));
  }
  for (size_t i = 0; i < state->kept.size(); ++i) {
    const KeptItem& item = state->kept[i];
    absl::StatusOr<std::string> text = item.output == nullptr ? std::string() : item.output->Text();
    if (!text.ok()) return Annotate(text.status(), "item " + std::to_string(i));
    visit(static_cast<int64_t>(i), item, *std::move(text));
  }
  return absl::OkStatus();
}

// A line for each item: {"index":0,"item":...,"outcome":"SUCCEEDED","output":"..."}. The output of
// an item that did not succeed is null.
absl::StatusOr<std::string> LinesOfMap(const Tree& tree, const Node& map) {
  std::string lines;
  const auto add = [&](int64_t index, const KeptItem& item, std::string output) {
    const bool succeeded = item.state == NodeState::kSucceeded;
    lines += "{\"index\":" + std::to_string(index) +
             ",\"item\":" + map.map->items->At(index).ToJson() + ",\"outcome\":\"" +
             std::string(Name(item.state)) +
             "\",\"output\":" + (succeeded ? spec::JsonQuote(output) : "null") + "}\n";
  };
  absl::Status visited = VisitItems(tree, map, add);
  if (!visited.ok()) return visited;
  return lines;
}

absl::StatusOr<std::string> ReadAll(int fd) {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "reading an output");
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
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
  return item.key == nullptr ? std::to_string(item.item) : *item.key;
}

const Node& NodeScope::Sibling(spec::NodeIndex sibling) const {
  const spec::NodeIndex group = run_.tree.job().node(sibling).parent;
  const Node* each = &node_;
  while (each->parent != nullptr && each->parent->spec.index != group) each = each->parent;
  NURSERY_CHECK(each->parent != nullptr) << "validation lets a node see only its siblings";
  const auto place = static_cast<size_t>(sibling - each->parent->spec.first_child);
  return *each->parent->children()[place];
}

absl::StatusOr<std::shared_ptr<const engine::Output>> NodeScope::OutputOf(const Node& node) const {
  if (node.spec.kind == spec::Kind::kMap) {
    absl::StatusOr<std::string> lines = LinesOfMap(run_.tree, node);
    if (!lines.ok()) return lines.status();
    auto whole = std::make_shared<engine::Output>(/*keep_whole=*/true, kOutputSpool);
    whole->Append(*lines);
    return whole;
  }
  std::shared_ptr<const engine::Output> output =
      run_.tree.Locked([&] { return node.activity().output; });
  if (output == nullptr) return NoOutput(run_.tree, node);
  return output;
}

absl::StatusOr<std::string> NodeScope::Output(spec::NodeIndex sibling) const {
  const Node& node = Sibling(sibling);
  absl::StatusOr<std::shared_ptr<const engine::Output>> output = OutputOf(node);
  absl::StatusOr<std::string> text = output.ok() ? (*output)->Text() : output.status();
  return text.ok() ? text : Annotate(text.status(), "output of " + node.Path());
}

std::string NodeScope::Units(int semaphore) const {
  const spec::Semaphore& wanted = run_.tree.job().semaphores[static_cast<size_t>(semaphore)];
  for (const Hold& hold : holds_) {
    if (hold.of().spec().name == wanted.name) return hold.Units();
  }
  return "";
}

absl::StatusOr<int> NodeScope::OpenOutput(spec::NodeIndex sibling) const {
  const Node& node = Sibling(sibling);
  absl::StatusOr<std::shared_ptr<const engine::Output>> output = OutputOf(node);
  absl::StatusOr<int> opened = output.ok() ? (*output)->Open() : output.status();
  return opened.ok() ? opened : Annotate(opened.status(), "output of " + node.Path());
}

absl::StatusOr<std::shared_ptr<const spec::ItemSet>> NodeScope::OutputAsItems(
    spec::NodeIndex sibling) const {
  const Node& node = Sibling(sibling);
  if (node.spec.kind != spec::Kind::kMap) {
    absl::StatusOr<int> opened = OpenOutput(sibling);
    if (!opened.ok()) return opened.status();
    const absl::StatusOr<std::string> text = ReadAll(*opened);
    close(*opened);
    if (!text.ok()) return text.status();
    return std::make_shared<const spec::ItemSet>(spec::ItemSet::Lines(*text));
  }
  std::string blob;
  std::vector<uint32_t> ends;
  absl::Status visited = VisitItems(run_.tree, node, [&](int64_t, const KeptItem& item, auto text) {
    if (item.state != NodeState::kSucceeded) return;
    blob += text;
    ends.push_back(static_cast<uint32_t>(blob.size()));
  });
  if (!visited.ok()) return Annotate(visited, "items from " + node.Path());
  return std::make_shared<const spec::ItemSet>(
      spec::ItemSet::List(std::move(blob), std::move(ends), spec::Value::Type::kString));
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
  return NodeScope(run, map, none).OutputAsItems(sibling);
}

}  // namespace nursery::engine
