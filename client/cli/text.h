// Text as a terminal shows it: its columns, numbers for people, and nothing in it that a terminal
// would obey.
//
// Thread safety: pure functions.
#ifndef NURSERY_CLIENT_CLI_TEXT_H_
#define NURSERY_CLIENT_CLI_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nursery::cli {

// One line that is safe to print: UTF-8, blanks for tabs, no escape sequences or other control
// characters.
std::string Printable(std::string_view text);
// The lines of `text`, each printable; no empty ones at its end.
std::vector<std::string> PrintableLines(std::string_view text);

// Columns that printable `text` takes: wide characters count two, combining ones none.
size_t Columns(std::string_view text);
// At most `columns` columns of `text`; a cut one ends in "…".
std::string CutTo(std::string_view text, size_t columns);
std::string PadRight(std::string text, size_t columns);
std::string PadLeft(std::string text, size_t columns);

// "106,212".
std::string Grouped(int64_t number);
// "1 node", "14 items".
std::string Counted(int64_t number, std::string_view noun);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_TEXT_H_
