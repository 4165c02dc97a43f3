#include "server/engine/text.h"

#include <algorithm>

namespace nursery::engine {
namespace {

size_t LengthBy(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

// Bytes of the character at the beginning of `text`, which is not empty; 0: it is none.
size_t CharacterLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = LengthBy(lead);
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (i == 1 && lead == 0xe0) low = 0xa0;
    if (i == 1 && lead == 0xf0) low = 0x90;
    if (i == 1 && lead == 0xed) high = 0x9f;
    if (i == 1 && lead == 0xf4) high = 0x8f;
    if (next < low || next > high) return 0;
  }
  return length;
}

// Calls `add` with every character, and with every byte that belongs to none.
template <class Add>
void ForEachCharacter(std::string_view text, Add add) {
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    add(text.substr(0, std::max<size_t>(length, 1)), length > 0);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
}

}  // namespace

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
