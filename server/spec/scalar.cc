#include "server/spec/scalar.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "nursery/core/status.h"
#include "server/spec/limits.h"

namespace nursery::spec {
namespace {

using std::chrono::nanoseconds;

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr std::array<Unit, 6> kTimeUnits = {{{"d", 86'400'000'000'000},
                                             {"h", 3'600'000'000'000},
                                             {"m", 60'000'000'000},
                                             {"s", 1'000'000'000},
                                             {"ms", 1'000'000},
                                             {"us", 1'000}}};
constexpr std::array<Unit, 5> kSizeUnits = {
    {{"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1}}};

absl::Status Invalid(std::string message) {
  return Error(absl::StatusCode::kInvalidArgument, message);
}

// Long values are cut in messages.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  return "'" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "...'" : "'");
}

bool IsNumberPart(char c) { return (c >= '0' && c <= '9') || c == '.'; }

// The digits, with at most one point between them, that `text` starts with.
std::string_view NumberPrefix(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && IsNumberPart(text[size])) ++size;
  const std::string_view number = text.substr(0, size);
  const size_t point = number.find('.');
  const bool bad = size == 0 || number.front() == '.' || number.back() == '.' ||
                   (point != number.npos && number.find('.', point + 1) != number.npos);
  return bad ? std::string_view() : number;
}

// `number` times `factor`, rounded; nothing if it is over `limit`.
std::optional<int64_t> Scale(std::string_view number, int64_t factor, int64_t limit) {
  int64_t whole = 0;
  const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), whole);
  if (error != std::errc() || whole > limit / factor) return std::nullopt;
  double fraction = 0;
  std::from_chars(rest, number.data() + number.size(), fraction);
  const int64_t value = whole * factor + std::llround(fraction * static_cast<double>(factor));
  if (value > limit) return std::nullopt;
  return value;
}

std::string_view UnitPrefix(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && !IsNumberPart(text[size])) ++size;
  return text.substr(0, size);
}

template <size_t N>
size_t FindUnit(const std::array<Unit, N>& units, std::string_view name) {
  size_t i = 0;
  while (i < N && units[i].name != name) ++i;
  return i;
}

}  // namespace

absl::StatusOr<nanoseconds> ParseDuration(std::string_view text) {
  if (text.starts_with('-')) return Invalid(Quoted(text) + " must not be negative");
  const std::string_view number = NumberPrefix(text);
  if (!number.empty() && number.size() == text.size()) {
    return Invalid(std::string(text) + " needs a unit, as in " + std::string(text) +
                   "s, 5m, 1h30m");
  }
  nanoseconds sum{};
  size_t next_unit = 0;
  for (std::string_view rest = text; !rest.empty() || text.empty();) {
    const std::string_view count = NumberPrefix(rest);
    const std::string_view unit = UnitPrefix(rest.substr(count.size()));
    const size_t at = FindUnit(kTimeUnits, unit);
    if (count.empty() || at == kTimeUnits.size() || at < next_unit) {
      return Invalid(Quoted(text) + " is not a duration, as in 250ms, 10s, 1h30m");
    }
    const std::optional<int64_t> part = Scale(count, kTimeUnits[at].factor, kMaxDuration.count());
    if (!part.has_value() || sum + nanoseconds(*part) > kMaxDuration) {
      return Invalid(Quoted(text) + " is over the limit of 10 years (87600h)");
    }
    sum += nanoseconds(*part);
    next_unit = at + 1;
    rest.remove_prefix(count.size() + unit.size());
  }
  return sum;
}

std::string FormatDuration(nanoseconds duration) {
  std::string out;
  int64_t left = duration.count();
  for (const Unit& unit : kTimeUnits) {
    if (unit.name == "d" || left < unit.factor) continue;
    out += std::to_string(left / unit.factor) + std::string(unit.name);
    left %= unit.factor;
  }
  return out.empty() ? "0s" : out;
}

absl::StatusOr<int64_t> ParseSize(std::string_view text) {
  const std::string_view number = NumberPrefix(text);
  if (!number.empty() && number.size() == text.size()) {
    return Invalid(std::string(text) + " needs a unit, as in 64KiB, 1MiB, 2GiB");
  }
  const std::string_view unit = text.substr(number.size());
  const size_t at = FindUnit(kSizeUnits, unit);
  if (number.empty() || at == kSizeUnits.size()) {
    return Invalid(Quoted(text) + " is not a size, as in 64KiB, 1MiB, 2GiB");
  }
  const std::optional<int64_t> size = Scale(number, kSizeUnits[at].factor, 1LL << 50);
  if (!size.has_value()) return Invalid(Quoted(text) + " is over the limit of 1024TiB");
  return *size;
}

absl::StatusOr<int64_t> ParseInteger(std::string_view text) {
  int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) {
    return Invalid(Quoted(text) + " does not fit into 64 bits");
  }
  if (error != std::errc() || rest != text.data() + text.size()) {
    return Invalid(Quoted(text) + " is not a whole number");
  }
  return number;
}

absl::StatusOr<double> ParseNumber(std::string_view text) {
  std::string_view digits = text;
  const bool percent = digits.ends_with('%');
  if (percent) digits.remove_suffix(1);
  double number = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || rest != digits.data() + digits.size() || !std::isfinite(number)) {
    return Invalid(Quoted(text) + " is not a number");
  }
  return percent ? number / 100 : number;
}

}  // namespace nursery::spec
