#include "server/rpc/filter.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <span>

#include "absl/time/time.h"
#include "nursery/core/status.h"
#include "server/engine/reason.h"

namespace nursery::rpc {
namespace {

constexpr size_t kMaxTerms = 32;
constexpr std::string_view kLabels = "labels.";

enum class Type { kText, kState, kKind, kNumber, kTime };
struct Field {
  std::string_view name;
  Type type;
};
constexpr Field kJobFields[] = {
    {"state", Type::kState},     {"outcome", Type::kState},   {"display_name", Type::kText},
    {"submitter", Type::kText},  {"priority", Type::kNumber}, {"create_time", Type::kTime},
    {"start_time", Type::kTime}, {"end_time", Type::kTime},   {"labels.NAME", Type::kText}};
constexpr Field kNodeFields[] = {
    {"state", Type::kState},  {"outcome", Type::kState},        {"kind", Type::kKind},
    {"path", Type::kText},    {"attempt_count", Type::kNumber}, {"start_time", Type::kTime},
    {"end_time", Type::kTime}};

std::span<const Field> FieldsOf(Filter::Of of) {
  if (of == Filter::Of::kJobs) return kJobFields;
  return kNodeFields;
}

std::optional<Type> TypeOf(Filter::Of of, std::string_view name) {
  const bool is_label = name.starts_with(kLabels) && name.size() > kLabels.size();
  if (of == Filter::Of::kJobs && is_label) return Type::kText;
  for (const Field& field : FieldsOf(of)) {
    if (field.name == name && field.name != "labels.NAME") return field.type;
  }
  return std::nullopt;
}

std::string NamesOf(Filter::Of of) {
  std::string names;
  for (const Field& field : FieldsOf(of)) {
    names += (names.empty() ? "" : ", ") + std::string(field.name);
  }
  return names;
}

const char* Wanted(Type type) {
  switch (type) {
    case Type::kText:
      return "a text";
    case Type::kState:
      return "a state, as in FAILED";
    case Type::kKind:
      return "a kind, as in EXEC";
    case Type::kNumber:
      return "a number";
    case Type::kTime:
      return "a time, as in \"2026-11-24T06:00:00Z\"";
  }
  __builtin_unreachable();
}

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("._-*:+/[]%").find(c) != std::string_view::npos;
}

int64_t NanosOf(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000'000 + time.nanos();
}

// What a value that is no text stands for; nothing: it is none.
std::optional<int64_t> NumberOf(Type type, const std::string& value) {
  if (type == Type::kState) {
    v1::NodeState state;
    if (!v1::NodeState_Parse("NODE_STATE_" + value, &state)) return std::nullopt;
    return state;
  }
  if (type == Type::kKind) {
    v1::NodeKind kind;
    if (!v1::NodeKind_Parse("NODE_KIND_" + value, &kind)) return std::nullopt;
    return kind;
  }
  if (type == Type::kNumber) {
    int64_t number = 0;
    const char* const end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return number;
  }
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, value, &time, nullptr)) return std::nullopt;
  return absl::ToUnixNanos(time);
}

std::string TextIn(const v1::Job& job, std::string_view field) {
  if (field == "display_name") return job.display_name();
  if (field == "submitter") return job.submitter();
  const auto label = job.labels().find(std::string(field.substr(kLabels.size())));
  return label == job.labels().end() ? "" : label->second;
}

// Nothing: it has none yet.
std::optional<int64_t> NumberIn(const v1::Job& job, std::string_view field) {
  if (field == "state") return job.state();
  if (field == "outcome") return job.outcome();
  if (field == "priority") return job.priority();
  if (field == "create_time") return NanosOf(job.create_time());
  const bool is_start = field == "start_time";
  if (is_start ? !job.has_start_time() : !job.has_end_time()) return std::nullopt;
  return NanosOf(is_start ? job.start_time() : job.end_time());
}

std::optional<int64_t> NumberIn(const v1::Node& node, std::string_view field) {
  if (field == "state") return node.state();
  if (field == "outcome") return node.outcome();
  if (field == "kind") return node.kind();
  if (field == "attempt_count") return node.attempt_count();
  const bool is_start = field == "start_time";
  if (is_start ? !node.has_start_time() : !node.has_end_time()) return std::nullopt;
  return NanosOf(is_start ? node.start_time() : node.end_time());
}

}  // namespace

class Filter::Parser {
 public:
  Parser(std::string_view text, Of of) : text_(text), of_(of) {}

  absl::StatusOr<Filter> Parse() {
    Filter filter;
    SkipBlanks();
    while (at_ < text_.size()) {
      if (!filter.terms_.empty() && Word() != "AND") return Fail(word_start_, "AND is expected");
      if (filter.terms_.size() == kMaxTerms) return Fail(at_, "more than 32 comparisons");
      absl::StatusOr<Term> term = ParseTerm();
      if (!term.ok()) return term.status();
      filter.terms_.push_back(*std::move(term));
      SkipBlanks();
    }
    return filter;
  }

 private:
  absl::StatusOr<Term> ParseTerm() {
    Term term;
    term.field = Word();
    const std::optional<Type> type = TypeOf(of_, term.field);
    if (!type) {
      return Fail(word_start_, "'" + term.field + "' is no field; fields: " + NamesOf(of_));
    }
    const std::optional<Operator> op = ParseOperator();
    if (!op) return Fail(at_, "one of = != < <= > >= is expected");
    term.op = *op;
    const bool has_order = *type == Type::kNumber || *type == Type::kTime;
    if (!has_order && *op != Operator::kEqual && *op != Operator::kUnequal) {
      return Fail(at_, "'" + term.field + "' knows = and != only");
    }
    if (!ParseValue(&term.value)) return Fail(at_, "a value is expected, as in x or \"x y\"");
    if (*type == Type::kText) return term;
    const std::optional<int64_t> number = NumberOf(*type, term.value);
    if (!number) return Fail(word_start_, "'" + term.value + "' is not " + Wanted(*type));
    term.number = *number;
    return term;
  }

  std::optional<Operator> ParseOperator() {
    static constexpr std::pair<std::string_view, Operator> kOperators[] = {
        {"!=", Operator::kUnequal},
        {"<=", Operator::kLessOrEqual},
        {">=", Operator::kGreaterOrEqual},
        {"=", Operator::kEqual},
        {"<", Operator::kLess},
        {">", Operator::kGreater}};
    SkipBlanks();
    for (const auto& [text, op] : kOperators) {
      if (!text_.substr(at_).starts_with(text)) continue;
      at_ += text.size();
      return op;
    }
    return std::nullopt;
  }

  bool ParseValue(std::string* value) {
    SkipBlanks();
    if (at_ == text_.size() || text_[at_] != '"') {
      *value = Word();
      return !value->empty();
    }
    word_start_ = at_;
    const size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos) return false;
    *value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }

  std::string Word() {
    SkipBlanks();
    word_start_ = at_;
    while (at_ < text_.size() && IsWordCharacter(text_[at_])) ++at_;
    return std::string(text_.substr(word_start_, at_ - word_start_));
  }

  void SkipBlanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  static absl::Status Fail(size_t at, const std::string& problem) {
    return engine::WithReason(Error(absl::StatusCode::kInvalidArgument,
                                    "filter: column " + std::to_string(at + 1) + ": " + problem),
                              v1::ERROR_REASON_INVALID_FILTER);
  }

  const std::string_view text_;
  const Of of_;
  size_t at_ = 0;
  size_t word_start_ = 0;
};

absl::StatusOr<Filter> Filter::Parse(std::string_view text, Of of) {
  return Parser(text, of).Parse();
}

bool Filter::Compare(int64_t left, Operator op, int64_t right) {
  switch (op) {
    case Operator::kEqual:
      return left == right;
    case Operator::kUnequal:
      return left != right;
    case Operator::kLess:
      return left < right;
    case Operator::kLessOrEqual:
      return left <= right;
    case Operator::kGreater:
      return left > right;
    case Operator::kGreaterOrEqual:
      return left >= right;
  }
  __builtin_unreachable();
}

bool Filter::FitsText(const std::string& text, const Term& term) {
  const bool is_prefix = term.value.ends_with('*');
  const bool fits = is_prefix ? text.starts_with(term.value.substr(0, term.value.size() - 1))
                              : text == term.value;
  return fits == (term.op == Operator::kEqual);
}

bool Filter::Fits(const v1::Job& job) const {
  return std::all_of(terms_.begin(), terms_.end(), [&job](const Term& term) {
    if (*TypeOf(Of::kJobs, term.field) == Type::kText)
      return FitsText(TextIn(job, term.field), term);
    const std::optional<int64_t> number = NumberIn(job, term.field);
    return number && Compare(*number, term.op, term.number);
  });
}

bool Filter::Fits(const v1::Node& node) const {
  return std::all_of(terms_.begin(), terms_.end(), [&node](const Term& term) {
    if (term.field == "path") return FitsText(node.path(), term);
    const std::optional<int64_t> number = NumberIn(node, term.field);
    return number && Compare(*number, term.op, term.number);
  });
}

}  // namespace nursery::rpc
