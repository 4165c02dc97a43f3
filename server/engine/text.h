// Text that comes from outside: output, items, error messages made of them. Messages hold UTF-8 and
// nothing else.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_ENGINE_TEXT_H_
#define NURSERY_SERVER_ENGINE_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace nursery::engine {

// The length of the character at the beginning of `text`, which is not empty, and its code point;
// 0: it is none. By RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
size_t DecodeUtf8(std::string_view text, char32_t* point);

// UTF-8 without NUL.
bool IsText(std::string_view text);

// The text with U+FFFD for each byte that belongs to no character.
std::string ToUtf8(std::string_view text);

// For a path: control characters, what has a meaning there (/ [ ] # %) and what is not UTF-8 become
// %XX, so that different keys stay different.
std::string EscapeKey(std::string_view key);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_TEXT_H_
