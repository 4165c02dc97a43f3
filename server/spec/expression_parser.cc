#include "server/spec/expression_parser.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "nursery/core/status.h"
#include "server/spec/limits.h"
#include "server/spec/violation.h"

namespace nursery::spec {
namespace {

using Source = Expression::Source;
using Function = Expression::Function;

constexpr std::string_view kOpen = "${{";
constexpr std::string_view kClose = "}}";

absl::Status Invalid(const std::string& message) {
  return Error(absl::StatusCode::kInvalidArgument, message);
}

std::string Quoted(std::string_view name) { return "'" + std::string(name.substr(0, 80)) + "'"; }

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Cuts `text` in front of the first point: item.a.b -> item, and a.b stays.
std::string_view CutName(std::string_view& text) {
  const std::string_view name = text.substr(0, text.find('.'));
  text.remove_prefix(name.size() < text.size() ? name.size() + 1 : name.size());
  return name;
}

// One expression, or the text that a parameter stands for.
using Parsed = std::pair<std::string, std::optional<Expression>>;

class Parser {
 public:
  explicit Parser(const NameResolver& names) : names_(names) {}

  absl::StatusOr<Parsed> ParseCall(std::string_view text) {
    const size_t open = text.find('(');
    if (open == text.npos) return ParseReference(text, Function::kNone);
    const std::string_view function = Trimmed(text.substr(0, open));
    if (!text.ends_with(')')) return Invalid(Quoted(text) + " has no closing ')'");
    const std::string_view argument = Trimmed(text.substr(open + 1, text.size() - open - 2));
    constexpr std::array<std::pair<std::string_view, Function>, 3> kFunctions = {
        {{"json", Function::kJson},
         {"urlencode", Function::kUrlencode},
         {"shell", Function::kShell}}};
    for (const auto& [name, value] : kFunctions) {
      if (name == function) return ParseReference(argument, value);
    }
    return Invalid("unknown function " + Quoted(function) + "; known are json, urlencode, shell");
  }

 private:
  absl::StatusOr<Parsed> ParseReference(std::string_view text, Function function) {
    std::string_view rest = text;
    const std::string_view head = CutName(rest);
    const bool has_dot = head.size() < text.size();
    if (has_dot && rest.empty()) return Unknown(text);
    if (head == "param" && has_dot) return ParseParam(rest, function);
    Expression expression;
    expression.function = function;
    const absl::Status status = Resolve(text, head, rest, expression);
    if (!status.ok()) return status;
    return Parsed("", std::move(expression));
  }

  absl::Status Resolve(std::string_view text, std::string_view head, std::string_view rest,
                       Expression& expression) {
    if (const std::optional<NodeIndex> map = names_.MapOfItem(head)) {
      expression.source = Source::kItem;
      expression.subject = *map;
      return AddFields(text, rest, expression);
    }
    if (head == "item") return Invalid("'item' is known inside a map only");
    if (head == "output" && !rest.empty()) return ResolveOutput(rest, expression);
    if (head == "sem" && !rest.empty()) return ResolveUnits(rest, expression);
    if (head == "port") return Invalid("port: not in this version");
    if (text == "index" || text == "key") {
      const std::optional<NodeIndex> map = names_.InnermostMap();
      if (!map.has_value()) return Invalid(Quoted(text) + " is known inside a map only");
      expression.source = text == "index" ? Source::kIndex : Source::kKey;
      expression.subject = *map;
      return absl::OkStatus();
    }
    constexpr std::array<std::pair<std::string_view, Source>, 4> kWords = {
        {{"job.id", Source::kJobId},
         {"job.name", Source::kJobName},
         {"job.dir", Source::kJobDir},
         {"attempt", Source::kAttempt}}};
    for (const auto& [word, source] : kWords) {
      if (text != word) continue;
      expression.source = source;
      return absl::OkStatus();
    }
    return Unknown(text);
  }

  absl::StatusOr<Parsed> ParseParam(std::string_view name, Function function) {
    absl::StatusOr<std::string> value = names_.Param(name);
    if (!value.ok()) return value.status();
    return Parsed(Apply(function, Value::String(*std::move(value))), std::nullopt);
  }

  // Names of nodes may hold points: the longest name that is a need wins.
  absl::Status ResolveOutput(std::string_view rest, Expression& expression) {
    for (std::string_view name = rest;;) {
      absl::StatusOr<std::optional<NodeIndex>> node = std::optional<NodeIndex>();
      if (name.size() <= kMaxNameBytes) node = names_.Output(name);
      if (!node.ok()) return node.status();
      if (node->has_value()) {
        expression.source = Source::kOutput;
        expression.subject = **node;
        rest.remove_prefix(std::min(name.size() + 1, rest.size()));
        return AddFields(name, rest, expression);
      }
      const size_t point = name.rfind('.');
      if (point == name.npos) break;
      name = name.substr(0, point);
    }
    return Invalid("output." + std::string(rest.substr(0, 80)) + ": " +
                   Quoted(rest.substr(0, rest.find('.'))) + " must be in `needs`");
  }

  absl::Status ResolveUnits(std::string_view name, Expression& expression) {
    const absl::StatusOr<int> semaphore = names_.Units(name);
    if (!semaphore.ok()) return semaphore.status();
    expression.source = Source::kUnits;
    expression.subject = *semaphore;
    return absl::OkStatus();
  }

  static absl::Status AddFields(std::string_view text, std::string_view rest,
                                Expression& expression) {
    while (!rest.empty()) {
      const std::string_view field = CutName(rest);
      if (field.empty()) return Invalid(Quoted(text) + " has an empty field name");
      expression.fields.emplace_back(field);
    }
    return absl::OkStatus();
  }

  static absl::Status Unknown(std::string_view text) {
    const std::string closest =
        Closest(text, {"item", "index", "key", "attempt", "job.id", "job.name", "job.dir"});
    return Invalid("unknown expression " + Quoted(text) +
                   (closest.empty() ? "; known are item, index, key, output.NAME, param.NAME, "
                                      "job.id, job.name, job.dir, attempt, sem.NAME"
                                    : "; did you mean '" + closest + "'?"));
  }

  const NameResolver& names_;
};

}  // namespace

absl::StatusOr<Template> ParseTemplate(std::string_view text, const NameResolver& names) {
  size_t open = text.find(kOpen);
  if (open == text.npos) return Template::Literal(std::string(text));
  std::vector<Template::Piece> pieces;
  std::string literal;
  std::string_view rest = text;
  for (; open != rest.npos; open = rest.find(kOpen)) {
    literal += rest.substr(0, open);
    rest.remove_prefix(open + kOpen.size());
    const size_t close = rest.find(kClose);
    if (close == rest.npos) return Invalid("'${{' without '}}'");
    absl::StatusOr<Parsed> parsed = Parser(names).ParseCall(Trimmed(rest.substr(0, close)));
    if (!parsed.ok()) return parsed.status();
    rest.remove_prefix(close + kClose.size());
    literal += parsed->first;
    if (!parsed->second.has_value()) continue;
    pieces.push_back(
        {std::move(literal), std::make_unique<const Expression>(*std::move(parsed->second))});
    literal.clear();
  }
  literal += rest;
  if (pieces.empty()) return Template::Literal(std::move(literal));
  if (!literal.empty()) pieces.push_back({std::move(literal), nullptr});
  return Template(std::string(text), std::move(pieces));
}

}  // namespace nursery::spec
