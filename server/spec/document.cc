#include "server/spec/document.h"

#include <yaml.h>

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>

#include "server/spec/json.h"
#include "server/spec/limits.h"

namespace nursery::spec {
namespace {

// libyaml refuses the escaped surrogate pairs that JSON writes; \U is the same in one escape.
std::string JoinSurrogates(std::string_view json) {
  std::string out;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] != '\\') {
      out += json[i];
      continue;
    }
    const std::string_view escape = json.substr(i, 12);
    const bool pair = escape.size() == 12 && escape[1] == 'u' && (escape[2] | 0x20) == 'd' &&
                      std::string_view("89abAB").find(escape[3]) != std::string_view::npos &&
                      escape[6] == '\\' && escape[7] == 'u' && (escape[8] | 0x20) == 'd' &&
                      std::string_view("cdefCDEF").find(escape[9]) != std::string_view::npos;
    if (pair) {
      out += JsonUnquote('"' + std::string(escape) + '"');
      i += 11;
    } else {
      out += json.substr(i, 2);
      ++i;
    }
  }
  return out;
}

// Owns what yaml_parser_parse filled in.
class Event {
 public:
  Event() : event_() {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { yaml_event_delete(&event_); }
  yaml_event_t* get() { return &event_; }
  yaml_event_t* operator->() { return &event_; }

 private:
  yaml_event_t event_;
};

}  // namespace

// Turns the events of libyaml into elements; stops at the first violation of syntax, goes on after
// those of form.
class DocumentParser {
 public:
  DocumentParser(std::string_view text, ViolationList& violations) : violations_(violations) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    text_ = text;
  }
  DocumentParser(const DocumentParser&) = delete;
  DocumentParser& operator=(const DocumentParser&) = delete;
  ~DocumentParser() { yaml_parser_delete(&parser_); }

  std::optional<Document> Parse() {
    if (!ParseStream() || !CheckExpansion()) return std::nullopt;
    return std::move(document_);
  }

 private:
  using Id = Document::Id;
  using Kind = Document::Kind;

  bool ParseStream() {
    Event stream_start;
    Event document_start;
    if (!Next(stream_start) || !Next(document_start)) return false;
    if (document_start->type == YAML_STREAM_END_EVENT) return Fail(1, 1, "the file is empty");
    std::optional<Id> root;
    Event first;
    if (!Next(first)) return false;
    root = ParseElement(first, 0);
    if (!root.has_value()) return false;
    document_.root_ = *root;
    Event document_end;
    Event after;
    if (!Next(document_end) || !Next(after)) return false;
    if (after->type == YAML_STREAM_END_EVENT) return true;
    return Fail(after->start_mark, "a second document; a file holds one");
  }

  // Nothing when parsing cannot go on.
  std::optional<Id> ParseElement(Event& event, int depth) {
    if (depth > kMaxFileDepth) {
      Fail(event->start_mark,
           "nested deeper than the limit of " + std::to_string(kMaxFileDepth) + " levels");
      return std::nullopt;
    }
    switch (event->type) {
      case YAML_ALIAS_EVENT:
        return Resolve(event);
      case YAML_SCALAR_EVENT:
        return Named(event->data.scalar.anchor, AddScalar(event));
      case YAML_SEQUENCE_START_EVENT:
        CheckTag(event->start_mark, event->data.sequence_start.tag);
        return Named(event->data.sequence_start.anchor, ParseSequence(event, depth));
      default:
        CheckTag(event->start_mark, event->data.mapping_start.tag);
        return Named(event->data.mapping_start.anchor, ParseMapping(event, depth));
    }
  }

  Id AddScalar(Event& event) {
    const auto& scalar = event->data.scalar;
    CheckTag(event->start_mark, scalar.tag);
    const Id id = AddElement(Kind::kScalar, event->start_mark);
    Document::Element& element = document_.elements_[id];
    element.plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
    element.begin = static_cast<uint32_t>(document_.text_.size());
    element.size = static_cast<uint32_t>(scalar.length);
    own_weight_ += WeightOf(id);
    document_.text_.append(reinterpret_cast<const char*>(scalar.value), scalar.length);
    return id;
  }

  std::optional<Id> ParseSequence(Event& start, int depth) {
    const Id id = AddElement(Kind::kSequence, start->start_mark);
    std::vector<Id> items;
    for (size_t i = 0;; ++i) {
      Event event;
      if (!Next(event)) return std::nullopt;
      if (event->type == YAML_SEQUENCE_END_EVENT) break;
      const FieldPath::Segment segment = path_.Enter(i);
      const std::optional<Id> item = ParseElement(event, depth + 1);
      if (!item.has_value()) return std::nullopt;
      items.push_back(*item);
    }
    SetChildren(id, items, items.size());
    return id;
  }

  std::optional<Id> ParseMapping(Event& start, int depth) {
    const Id id = AddElement(Kind::kMapping, start->start_mark);
    std::vector<Id> entries;
    std::unordered_map<std::string, Id> seen;
    for (;;) {
      Event event;
      if (!Next(event)) return std::nullopt;
      if (event->type == YAML_MAPPING_END_EVENT) break;
      const std::optional<Id> key = ParseElement(event, depth + 1);
      if (!key.has_value()) return std::nullopt;
      if (document_.at(*key).kind != Kind::kScalar) {
        Fail(event->start_mark, "a key must be a text, not a list or mapping");
        return std::nullopt;
      }
      std::string name(document_.Text(*key));
      const FieldPath::Segment segment = path_.Enter(name);
      Event value_event;
      if (!Next(value_event)) return std::nullopt;
      const std::optional<Id> value = ParseElement(value_event, depth + 1);
      if (!value.has_value()) return std::nullopt;
      if (!CheckKey(*key, event->start_mark, seen, std::move(name))) continue;
      entries.push_back(*key);
      entries.push_back(*value);
    }
    SetChildren(id, entries, entries.size() / 2);
    return id;
  }

  bool CheckKey(Id key, const yaml_mark_t& mark, std::unordered_map<std::string, Id>& seen,
                std::string name) {
    if (document_.at(key).plain && name == "<<") {
      return Fail(mark, "merge keys (<<) are not supported; write the fields out");
    }
    const auto [first, is_new] = seen.emplace(std::move(name), key);
    if (is_new) return true;
    const Document::Element& other = document_.at(first->second);
    return Fail(mark, "is set twice; first at " + std::to_string(other.line) + ":" +
                          std::to_string(other.column));
  }

  Id AddElement(Kind kind, const yaml_mark_t& mark) {
    Document::Element element;
    element.kind = kind;
    element.line = static_cast<uint32_t>(mark.line + 1);
    element.column = static_cast<uint32_t>(mark.column + 1);
    if (kind != Kind::kScalar) ++own_weight_;
    document_.elements_.push_back(element);
    return static_cast<Id>(document_.elements_.size() - 1);
  }

  void SetChildren(Id id, const std::vector<Id>& children, size_t size) {
    Document::Element& element = document_.elements_[id];
    element.begin = static_cast<uint32_t>(document_.children_.size());
    element.size = static_cast<uint32_t>(size);
    uint64_t weight = 1;
    for (const Id child : children) {
      // Aliases of aliases double each time; a ceiling keeps the sum from wrapping around.
      constexpr uint64_t kCeiling = 1ULL << 62;
      weight = std::min(weight + WeightOf(child), kCeiling);
      document_.children_.push_back(child);
    }
    weights_[id] = weight;
  }

  // Elements and text of `id` and below, aliases counted again; a unit is what an element costs.
  uint64_t WeightOf(Id id) const {
    const Document::Element& element = document_.at(id);
    if (element.kind == Kind::kScalar) return 1 + element.size / sizeof(Document::Element);
    const auto found = weights_.find(id);
    return found == weights_.end() ? 1 : found->second;
  }

  std::optional<Id> Named(const unsigned char* anchor, std::optional<Id> id) {
    if (anchor != nullptr && id.has_value()) {
      anchors_[reinterpret_cast<const char*>(anchor)] = *id;
    }
    return id;
  }

  std::optional<Id> Resolve(Event& event) {
    const std::string name(reinterpret_cast<const char*>(event->data.alias.anchor));
    const auto found = anchors_.find(name);
    if (found != anchors_.end()) return found->second;
    Fail(event->start_mark, "no anchor '&" + name + "' before this place");
    return std::nullopt;
  }

  void CheckTag(const yaml_mark_t& mark, const unsigned char* tag) {
    if (tag == nullptr) return;
    Fail(mark, "tags (!...) are not supported; the field decides how a value is read");
  }

  bool CheckExpansion() {
    if (WeightOf(document_.root()) <= kMaxAliasExpansion * own_weight_) return true;
    return Fail(1, 1,
                "aliases make the file more than " + std::to_string(kMaxAliasExpansion) +
                    " times larger than it is; write less in anchors");
  }

  bool Next(Event& event) {
    if (yaml_parser_parse(&parser_, event.get()) != 0) return true;
    std::string message = parser_.problem == nullptr ? "cannot be read" : parser_.problem;
    if (parser_.error == YAML_READER_ERROR) return FailAtByte(parser_.problem_offset, message);
    if (AtTab()) return Fail(parser_.problem_mark, "a tab; YAML is indented with spaces");
    if (parser_.context != nullptr) message += std::string(" ") + parser_.context;
    return Fail(parser_.problem_mark, message);
  }

  bool AtTab() const {
    const size_t at = parser_.problem_mark.index;
    return parser_.error == YAML_SCANNER_ERROR && at < text_.size() && text_[at] == '\t';
  }

  // What is no text is told by its byte alone.
  bool FailAtByte(size_t byte, const std::string& message) {
    const std::string_view before = text_.substr(0, std::min(byte, text_.size()));
    const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
    const auto lines = std::count(before.begin(), before.end(), '\n');
    return Fail(static_cast<int>(lines) + 1, static_cast<int>(before.size() - line_start) + 1,
                message);
  }

  bool Fail(const yaml_mark_t& mark, std::string message) {
    return Fail(static_cast<int>(mark.line + 1), static_cast<int>(mark.column + 1),
                std::move(message));
  }

  // Always false.
  bool Fail(int line, int column, std::string message) {
    violations_.Add({path_.text(), std::move(message), line, column});
    return false;
  }

  yaml_parser_t parser_;
  std::string_view text_;
  ViolationList& violations_;
  Document document_;
  std::map<std::string, Id> anchors_;
  FieldPath path_;
  std::unordered_map<Id, uint64_t> weights_;  // of lists and mappings
  uint64_t own_weight_ = 0;
};

std::optional<Document> Document::Parse(std::string_view text, ViolationList& violations) {
  if (text.size() > kMaxFileBytes) {
    violations.Add({"", "the file is over the limit of 16 MiB", 0, 0});
    return std::nullopt;
  }
  if (IsJson(text) && text.find("\\u") != text.npos) {
    const std::string joined = JoinSurrogates(text);
    return DocumentParser(joined, violations).Parse();
  }
  return DocumentParser(text, violations).Parse();
}

std::optional<Document::Id> Document::Find(Id mapping, std::string_view key) const {
  for (size_t i = 0; i < at(mapping).size; ++i) {
    if (Text(Key(mapping, i)) == key) return Value(mapping, i);
  }
  return std::nullopt;
}

}  // namespace nursery::spec
