#include "server/spec/value.h"

#include <charconv>

#include "nursery/core/status.h"
#include "server/spec/json.h"

namespace nursery::spec {
namespace {

// Long values are cut in messages.
std::string Shown(std::string_view text) {
  constexpr size_t kShown = 40;
  return text.size() <= kShown ? std::string(text) : std::string(text.substr(0, kShown)) + "...";
}

}  // namespace

std::string Value::Text() const {
  return type == Type::kJson && text.starts_with('"') ? JsonUnquote(text) : text;
}

std::string Value::ToJson() const { return type == Type::kJson ? text : JsonQuote(text); }

absl::StatusOr<int64_t> Value::ToInt64() const {
  const std::string digits = Text();
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, number);
  if (error != std::errc() || rest != end) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "'" + Shown(digits) + "' is not a whole number of 64 bits");
  }
  return number;
}

absl::StatusOr<Value> Value::Field(std::string_view name) const {
  const std::optional<std::string_view> member = JsonMember(text, name);
  if (!member.has_value()) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "'" + Shown(text) + "' has no field '" + std::string(name) + "'");
  }
  return Json(std::string(*member));
}

}  // namespace nursery::spec
