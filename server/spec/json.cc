#include "server/spec/json.h"

#include <cstdint>
#include <cstdio>

namespace nursery::spec {
namespace {

constexpr int kMaxDepth = 64;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// A cursor over JSON text; each Skip... is false at the first thing that is not JSON.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  size_t position() const { return position_; }
  bool AtEnd() const { return position_ == text_.size(); }
  bool Next(char c) const { return !AtEnd() && text_[position_] == c; }

  void SkipBlanks() {
    while (!AtEnd() && std::string_view(" \t\r\n").find(text_[position_]) != text_.npos) {
      ++position_;
    }
  }

  bool Skip(char c) {
    if (!Next(c)) return false;
    ++position_;
    return true;
  }

  bool SkipWord(std::string_view word) {
    if (text_.substr(position_, word.size()) != word) return false;
    position_ += word.size();
    return true;
  }

  bool SkipValue(int depth) {
    if (AtEnd() || depth > kMaxDepth) return false;
    switch (text_[position_]) {
      case '{':
        return SkipObject(depth);
      case '[':
        return SkipArray(depth);
      case '"':
        return SkipString();
      case 't':
        return SkipWord("true");
      case 'f':
        return SkipWord("false");
      case 'n':
        return SkipWord("null");
      default:
        return SkipNumber();
    }
  }

  bool SkipString() {
    if (!Skip('"')) return false;
    while (!AtEnd()) {
      const unsigned char c = static_cast<unsigned char>(text_[position_++]);
      if (c == '"') return true;
      if (c < 0x20) return false;
      if (c == '\\' && !SkipEscape()) return false;
    }
    return false;
  }

  bool SkipNumber() {
    Skip('-');
    if (!Skip('0') && !SkipDigits()) return false;
    if (Skip('.') && !SkipDigits()) return false;
    if (Skip('e') || Skip('E')) {
      if (!Skip('+')) Skip('-');
      return SkipDigits();
    }
    return true;
  }

 private:
  bool SkipDigits() {
    const size_t start = position_;
    while (!AtEnd() && IsDigit(text_[position_])) ++position_;
    return position_ > start;
  }

  bool SkipEscape() {
    if (AtEnd()) return false;
    const char c = text_[position_++];
    if (c != 'u') return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    for (int i = 0; i < 4; ++i) {
      if (AtEnd() || !IsHex(text_[position_++])) return false;
    }
    return true;
  }

  bool SkipArray(int depth) {
    Skip('[');
    SkipBlanks();
    if (Skip(']')) return true;
    do {
      SkipBlanks();
      if (!SkipValue(depth + 1)) return false;
      SkipBlanks();
    } while (Skip(','));
    return Skip(']');
  }

  bool SkipObject(int depth) {
    Skip('{');
    SkipBlanks();
    if (Skip('}')) return true;
    do {
      SkipBlanks();
      if (!SkipString()) return false;
      SkipBlanks();
      if (!Skip(':')) return false;
      SkipBlanks();
      if (!SkipValue(depth + 1)) return false;
      SkipBlanks();
    } while (Skip(','));
    return Skip('}');
  }

  std::string_view text_;
  size_t position_ = 0;
};

uint32_t ReadHex4(std::string_view digits) {
  uint32_t value = 0;
  for (char c : digits.substr(0, 4)) {
    const int digit = IsDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  return value;
}

// Reads the code point whose \u starts at `position` and moves past it and its other half.
uint32_t ReadUnicodeEscape(std::string_view token, size_t& position) {
  uint32_t unit = ReadHex4(token.substr(position + 2));
  position += 6;
  if (unit >= 0xd800 && unit < 0xdc00 && token.substr(position, 2) == "\\u") {
    const uint32_t low = ReadHex4(token.substr(position + 2));
    if (low >= 0xdc00 && low < 0xe000) {
      position += 6;
      return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  const bool lone_surrogate = unit >= 0xd800 && unit < 0xe000;
  return lone_surrogate ? 0xfffd : unit;
}

char UnescapedByte(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

}  // namespace

bool IsJson(std::string_view text) {
  Scanner scanner(text);
  scanner.SkipBlanks();
  if (!scanner.SkipValue(0)) return false;
  scanner.SkipBlanks();
  return scanner.AtEnd();
}

bool IsJsonNumber(std::string_view text) {
  Scanner scanner(text);
  return !text.empty() && scanner.SkipNumber() && scanner.AtEnd();
}

std::string JsonQuote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string JsonUnquote(std::string_view token) {
  token = token.substr(1, token.size() - 2);
  std::string out;
  for (size_t i = 0; i < token.size();) {
    if (token[i] != '\\') {
      out += token[i++];
    } else if (token[i + 1] == 'u') {
      AppendUtf8(out, ReadUnicodeEscape(token, i));
    } else {
      out += UnescapedByte(token[i + 1]);
      i += 2;
    }
  }
  return out;
}

namespace {

// Calls `visit` with the quoted name and the value of each member, if `text` is a valid object.
template <class Visit>
void ForEachMember(std::string_view text, Visit visit) {
  if (!IsJson(text)) return;
  Scanner scanner(text);
  scanner.SkipBlanks();
  if (!scanner.Skip('{')) return;
  scanner.SkipBlanks();
  while (scanner.Next('"')) {
    size_t start = scanner.position();
    scanner.SkipString();
    const std::string_view key = text.substr(start, scanner.position() - start);
    scanner.SkipBlanks();
    scanner.Skip(':');
    scanner.SkipBlanks();
    start = scanner.position();
    scanner.SkipValue(0);
    visit(key, text.substr(start, scanner.position() - start));
    scanner.SkipBlanks();
    scanner.Skip(',');
    scanner.SkipBlanks();
  }
}

}  // namespace

std::optional<std::string_view> JsonMember(std::string_view text, std::string_view name) {
  std::optional<std::string_view> found;
  ForEachMember(text, [&](std::string_view key, std::string_view value) {
    if (JsonUnquote(key) == name) found = value;
  });
  return found;
}

std::vector<std::string> JsonMemberNames(std::string_view text) {
  std::vector<std::string> names;
  ForEachMember(text,
                [&](std::string_view key, std::string_view) { names.push_back(JsonUnquote(key)); });
  return names;
}

void AppendUtf8(std::string& out, uint32_t code_point) {
  auto byte = [&](uint32_t value) { out += static_cast<char>(value); };
  if (code_point < 0x80) {
    byte(code_point);
  } else if (code_point < 0x800) {
    byte(0xc0 | (code_point >> 6));
    byte(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    byte(0xe0 | (code_point >> 12));
    byte(0x80 | ((code_point >> 6) & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  } else {
    byte(0xf0 | (code_point >> 18));
    byte(0x80 | ((code_point >> 12) & 0x3f));
    byte(0x80 | ((code_point >> 6) & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  }
}

}  // namespace nursery::spec
