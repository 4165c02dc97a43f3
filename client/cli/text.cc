#include "client/cli/text.h"

#include <algorithm>
#include <array>

#include "server/engine/text.h"

namespace nursery::cli {

using engine::DecodeUtf8;

namespace {

constexpr std::string_view kReplacement = "\ufffd";

struct Range {
  char32_t first;
  char32_t last;
};

bool InAny(const auto& ranges, char32_t point) {
  return std::any_of(ranges.begin(), ranges.end(), [point](const Range& range) {
    return point >= range.first && point <= range.last;
  });
}

// The blocks that matter; a terminal that knows more draws a column too few at worst.
size_t ColumnsOf(char32_t point) {
  static constexpr std::array<Range, 5> kCombining = {
      {{0x300, 0x36f}, {0x1ab0, 0x1aff}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}}};
  static constexpr std::array<Range, 8> kWide = {{{0x1100, 0x115f},
                                                  {0x2e80, 0xa4cf},
                                                  {0xac00, 0xd7a3},
                                                  {0xf900, 0xfaff},
                                                  {0xfe30, 0xfe6f},
                                                  {0xff00, 0xff60},
                                                  {0x1f300, 0x1faff},
                                                  {0x20000, 0x3fffd}}};
  if (point < 0x300) return 1;
  if (InAny(kCombining, point)) return 0;
  return InAny(kWide, point) ? 2 : 1;
}

// Length of the escape sequence at the start of `text`, which begins with ESC.
size_t EscapeLength(std::string_view text) {
  if (text.size() < 2) return text.size();
  if (text[1] == ']') {  // up to BEL or ESC
    const size_t end = text.find_first_of("\a\x1b", 2);
    return end == text.npos ? text.size() : end + 1;
  }
  if (text[1] != '[') return 2;
  size_t end = 2;
  while (end < text.size() && (text[end] < '@' || text[end] > '~')) ++end;
  return std::min(end + 1, text.size());
}

bool IsControl(char32_t point) {
  // Besides C0 and C1: what turns the direction of the text around it.
  static constexpr std::array<Range, 4> kControls = {
      {{0, 0x1f}, {0x7f, 0x9f}, {0x202a, 0x202e}, {0x2066, 0x2069}}};
  return InAny(kControls, point);
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  char32_t point = 0;
  while (!text.empty()) {
    if (text[0] == '\x1b') {
      text.remove_prefix(EscapeLength(text));
      continue;
    }
    const size_t length = DecodeUtf8(text, &point);
    if (length == 0) {
      out += kReplacement;
    } else if (point == '\t' || point == '\n') {
      out += ' ';
    } else if (!IsControl(point)) {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::vector<std::string> PrintableLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(Printable(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

size_t Columns(std::string_view text) {
  size_t columns = 0;
  char32_t point;
  while (!text.empty()) {
    const size_t length = DecodeUtf8(text, &point);
    columns += length == 0 ? 1 : ColumnsOf(point);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return columns;
}

std::string CutTo(std::string_view text, size_t columns) {
  if (Columns(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  size_t taken = 0;
  size_t used = 0;
  char32_t point;
  while (taken < text.size()) {
    const size_t length = DecodeUtf8(text.substr(taken), &point);
    const size_t width = length == 0 ? 1 : ColumnsOf(point);
    if (used + width > columns - 1) break;
    used += width;
    taken += std::max<size_t>(length, 1);
  }
  return std::string(text.substr(0, taken)) + "…";
}

std::string PadRight(std::string text, size_t columns) {
  text.append(columns - std::min(columns, Columns(text)), ' ');
  return text;
}

std::string PadLeft(std::string text, size_t columns) {
  text.insert(0, columns - std::min(columns, Columns(text)), ' ');
  return text;
}

std::string Grouped(int64_t number) {
  std::string text = std::to_string(number);
  const auto digits = static_cast<int64_t>(text.size());
  const int64_t first = number < 0 ? 1 : 0;
  for (int64_t at = digits - 3; at > first; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string Counted(int64_t number, std::string_view noun) {
  return Grouped(number) + " " + std::string(noun) + (number == 1 ? "" : "s");
}

}  // namespace nursery::cli
