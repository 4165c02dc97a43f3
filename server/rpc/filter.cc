#include "server/rpc/filter.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "absl/time/time.h"
#include "nursery/core/status.h"
#include "server/engine/reason.h"

namespace nursery::rpc {
namespace {

constexpr size_t kMaxTerms = 32;
constexpr std::string_view kLabels = "labels.";
constexpr std::string_view kFields =
    "state, display_name, submitter, priority, create_time, end_time, labels.NAME";

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("._-*:+").find(c) != std::string_view::npos;
}

bool IsText(std::string_view field) {
  return field == "display_name" || field == "submitter" || field.starts_with(kLabels);
}

int64_t NanosOf(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000'000 + time.nanos();
}

// What the value of a field that is no text stands for; nothing: it is none.
std::optional<int64_t> NumberOf(std::string_view field, const std::string& value) {
  if (field == "state") {
    v1::NodeState state;
    if (!v1::NodeState_Parse("NODE_STATE_" + value, &state)) return std::nullopt;
    return state;
  }
  if (field == "priority") {
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

}  // namespace

class Filter::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

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
    const bool is_time = term.field == "create_time" || term.field == "end_time";
    const bool is_label = term.field.starts_with(kLabels) && term.field.size() > kLabels.size();
    const bool is_known = term.field == "state" || term.field == "display_name" || is_time ||
                          term.field == "submitter" || term.field == "priority" || is_label;
    if (!is_known) {
      return Fail(word_start_, "'" + term.field + "' is no field; fields: " + std::string(kFields));
    }
    const std::optional<Operator> op = ParseOperator();
    if (!op) return Fail(at_, "one of = != < <= > >= is expected");
    term.op = *op;
    const bool is_order = term.op != Operator::kEqual && term.op != Operator::kUnequal;
    if (is_order && (IsText(term.field) || term.field == "state")) {
      return Fail(at_, "'" + term.field + "' knows = and != only");
    }
    if (!ParseValue(&term.value)) return Fail(at_, "a value is expected, as in x or \"x y\"");
    if (IsText(term.field)) return term;
    const std::optional<int64_t> number = NumberOf(term.field, term.value);
    if (!number) {
      const char* what = is_time                 ? "a time, as in \"2026-11-24T06:00:00Z\""
                         : term.field == "state" ? "a state, as in FAILED"
                                                 : "a number";
      return Fail(word_start_, "'" + term.value + "' is not " + what);
    }
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
  size_t at_ = 0;
  size_t word_start_ = 0;
};

absl::StatusOr<Filter> Filter::Parse(std::string_view text) { return Parser(text).Parse(); }

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
    if (term.field == "display_name") return FitsText(job.display_name(), term);
    if (term.field == "submitter") return FitsText(job.submitter(), term);
    if (term.field == "state") return Compare(job.state(), term.op, term.number);
    if (term.field == "priority") return Compare(job.priority(), term.op, term.number);
    if (term.field == "create_time") {
      return Compare(NanosOf(job.create_time()), term.op, term.number);
    }
    if (term.field == "end_time") {
      return job.has_end_time() && Compare(NanosOf(job.end_time()), term.op, term.number);
    }
    const auto label = job.labels().find(term.field.substr(kLabels.size()));
    return FitsText(label == job.labels().end() ? "" : label->second, term);
  });
}

}  // namespace nursery::rpc
