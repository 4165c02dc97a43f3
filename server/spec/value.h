// What an expression gives: text with a note of how it was written, so that a field that wants a
// number can take one and a field that wants text loses nothing (1.10 stays 1.10).
//
// Thread safety: plain data.
#ifndef NURSERY_SERVER_SPEC_VALUE_H_
#define NURSERY_SERVER_SPEC_VALUE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace nursery::spec {

struct Value {
  enum class Type { kString, kJson };

  static Value String(std::string text) { return {Type::kString, std::move(text)}; }
  // `json` must be one valid JSON value.
  static Value Json(std::string json) { return {Type::kJson, std::move(json)}; }
  static Value Number(int64_t number) { return Json(std::to_string(number)); }

  // The text that replaces ${{ }} inside a longer string: a JSON string without its quotes, any
  // other JSON value as it is written.
  std::string Text() const;
  // As one JSON value; text becomes a quoted string.
  std::string ToJson() const;
  // A whole number, written as JSON number or as text.
  absl::StatusOr<int64_t> ToInt64() const;
  // The field `name` of an object; text is read as JSON first.
  absl::StatusOr<Value> Field(std::string_view name) const;

  Type type = Type::kString;
  std::string text;
};

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_VALUE_H_
