#include "server/engine/text.h"

#include <algorithm>
#include <array>

namespace nursery::engine {
namespace {

// Calls `add` with every character, and with every byte that belongs to none.
template <class Add>
void ForEachCharacter(std::string_view text, Add add) {
  char32_t point;
  while (!text.empty()) {
    const size_t length = DecodeUtf8(text, &point);
    add(text.substr(0, std::max<size_t>(length, 1)), length > 0);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
}

}  // namespace

size_t DecodeUtf8(std::string_view text, char32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (length == 0 || length > text.size() || lead > 0xf4) return 0;
  *point = length == 1 ? lead : lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    *point = *point << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = *point >= 0xd800 && *point < 0xe000;
  return *point < kLeast[length] || *point > 0x10ffff || surrogate ? 0 : length;
}

bool IsText(std::string_view text) {
  bool is_text = true;
  ForEachCharacter(text, [&](std::string_view character, bool valid) {
    is_text = is_text && valid && character[0] != '\0';
  });
  return is_text;
}

std::string ToUtf8(std::string_view text) {
  std::string valid;
  ForEachCharacter(text, [&](std::string_view character, bool is_character) {
    valid += is_character ? character : "\xef\xbf\xbd";
  });
  return valid;
}

std::string EscapeKey(std::string_view key) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string escaped;
  ForEachCharacter(key, [&](std::string_view character, bool is_character) {
    const auto byte = static_cast<unsigned char>(character[0]);
    const bool special = std::string_view("/[]#%").find(character[0]) != std::string_view::npos;
    if (is_character && byte >= 0x20 && byte != 0x7f && !special) {
      escaped += character;
    } else {
      escaped += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  });
  return escaped;
}

}  // namespace nursery::engine
