#include "server/spec/expression.h"

#include "nursery/core/check.h"
#include "nursery/core/status.h"

namespace nursery::spec {
namespace {

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Percent-encodes everything but RFC 3986's unreserved characters.
std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (IsAlphanumeric(c) || std::string_view("-._~").find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

// One word of a POSIX shell.
std::string ShellQuote(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out += '\'';
}

absl::StatusOr<Value> OutputOf(const Expression& expression, const Scope& scope) {
  absl::StatusOr<std::string> output = scope.Output(expression.subject);
  if (!output.ok()) return output.status();
  return Value::String(*std::move(output));
}

absl::StatusOr<Value> Look(const Expression& expression, const Scope& scope) {
  switch (expression.source) {
    case Expression::Source::kItem:
      return scope.Item(expression.subject);
    case Expression::Source::kIndex:
      return Value::Number(scope.Index(expression.subject));
    case Expression::Source::kKey:
      return Value::String(scope.Key(expression.subject));
    case Expression::Source::kOutput:
      return OutputOf(expression, scope);
    case Expression::Source::kJobId:
      return Value::String(scope.JobId());
    case Expression::Source::kJobName:
      return Value::String(scope.JobName());
    case Expression::Source::kJobDir:
      if (absl::StatusOr<std::string> dir = scope.JobDir(); !dir.ok()) {
        return dir.status();
      } else {
        return Value::String(*std::move(dir));
      }
    case Expression::Source::kAttempt:
      return Value::Number(scope.Attempt());
    case Expression::Source::kUnits:
      return Value::String(scope.Units(expression.subject));
  }
  NURSERY_CHECK(false) << "an expression without a source";
  return Value();
}

}  // namespace

absl::StatusOr<Value> Evaluate(const Expression& expression, const Scope& scope) {
  absl::StatusOr<Value> value = Look(expression, scope);
  for (const std::string& field : expression.fields) {
    if (!value.ok()) return value;
    value = value->Field(field);
  }
  if (!value.ok() || expression.function == Expression::Function::kNone) return value;
  std::string text = Apply(expression.function, *value);
  const bool is_json = expression.function == Expression::Function::kJson;
  return is_json ? Value::Json(std::move(text)) : Value::String(std::move(text));
}

std::string Apply(Expression::Function function, const Value& value) {
  switch (function) {
    case Expression::Function::kNone:
      break;
    case Expression::Function::kJson:
      return value.ToJson();
    case Expression::Function::kUrlencode:
      return UrlEncode(value.Text());
    case Expression::Function::kShell:
      return ShellQuote(value.Text());
  }
  return value.Text();
}

Template Template::Literal(std::string text) {
  if (text.empty()) return Template();
  return Template(std::move(text), {});
}

Template::Template(std::string source, std::vector<Piece> pieces)
    : parsed_(std::make_shared<const Parsed>(Parsed{std::move(source), std::move(pieces)})) {}

bool Template::IsLiteral() const { return parsed_ == nullptr || parsed_->pieces.empty(); }

const std::string& Template::Source() const {
  static const std::string* const kEmpty = new std::string;
  return parsed_ == nullptr ? *kEmpty : parsed_->source;
}

const std::vector<Template::Piece>& Template::Pieces() const {
  static const std::vector<Piece>* const kNone = new std::vector<Piece>;
  return parsed_ == nullptr ? *kNone : parsed_->pieces;
}

absl::StatusOr<std::string> Template::Expand(const Scope& scope) const {
  if (IsLiteral()) return Source();
  std::string out;
  for (const Piece& piece : Pieces()) {
    out += piece.literal;
    if (piece.expression == nullptr) continue;
    absl::StatusOr<Value> value = spec::Evaluate(*piece.expression, scope);
    if (!value.ok()) return Annotate(value.status(), Source());
    // What json() gave is wanted as it is written, quotes included.
    const bool raw = piece.expression->function == Expression::Function::kJson;
    out += raw ? value->text : value->Text();
  }
  return out;
}

absl::StatusOr<Value> Template::Evaluate(const Scope& scope) const {
  if (Pieces().size() == 1 && Pieces()[0].literal.empty()) {
    return spec::Evaluate(*Pieces()[0].expression, scope);
  }
  absl::StatusOr<std::string> text = Expand(scope);
  if (!text.ok()) return text.status();
  return Value::String(*std::move(text));
}

}  // namespace nursery::spec
