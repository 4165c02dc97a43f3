// Just enough JSON to look into one value without building a tree of it.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_SPEC_JSON_H_
#define NURSERY_SERVER_SPEC_JSON_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nursery::spec {

// True if `text` is one JSON value (RFC 8259), nested at most 64 deep, with blanks around it at
// most.
bool IsJson(std::string_view text);

// True if `text` is one JSON number.
bool IsJsonNumber(std::string_view text);

// `text` as a JSON string with its quotes. Bytes above 0x7f are copied.
std::string JsonQuote(std::string_view text);

// The text of JSON string `token`, surrogate pairs joined; `token` must be valid.
std::string JsonUnquote(std::string_view token);

// The value of member `name` of JSON object `text`, as it is written there; the last one if there
// are several. Nothing if `text` is no valid object or has no such member.
std::optional<std::string_view> JsonMember(std::string_view text, std::string_view name);

// The names of the members of JSON object `text`, in its order; none if it is no valid object.
std::vector<std::string> JsonMemberNames(std::string_view text);

// Appends the UTF-8 form of `code_point`.
void AppendUtf8(std::string& out, uint32_t code_point);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_JSON_H_
