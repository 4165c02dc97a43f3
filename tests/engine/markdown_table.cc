#include "tests/engine/markdown_table.h"

#include <cctype>
#include <fstream>
#include <sstream>

#include "nursery/core/check.h"

namespace nursery::engine {
namespace {

constexpr char kFile[] = NURSERY_SOURCE_DIR "/ARCHITECTURE.md";

std::string Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" `");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" `") - begin + 1));
}

bool IsTableLine(std::string_view line) { return line.starts_with('|'); }

// The cells of "| a | b |".
std::vector<std::string> Split(std::string_view line) {
  std::vector<std::string> cells;
  size_t begin = 1;
  for (size_t end; (end = line.find('|', begin)) != std::string_view::npos; begin = end + 1) {
    cells.push_back(Trim(line.substr(begin, end - begin)));
  }
  return cells;
}

}  // namespace

const std::string& TableRow::operator[](std::string_view column) const {
  for (const auto& [name, cell] : cells_) {
    if (name == column) return cell;
  }
  NURSERY_CHECK(false) << kFile << ":" << line_ << ": the table has no column '" << column << "'";
  std::abort();
}

std::vector<std::string> TableRow::Words(std::string_view column) const {
  std::istringstream in((*this)[column]);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

void PrintTo(const TableRow& row, std::ostream* out) {
  *out << "ARCHITECTURE.md:" << row.line_;
  for (const auto& [name, cell] : row.cells_) *out << ", " << name << ": " << cell;
}

std::vector<TableRow> ReadTable(std::string_view name) {
  std::ifstream in(kFile);
  NURSERY_CHECK(in.good()) << "cannot read " << kFile;
  const std::string marker = "<!-- table: " + std::string(name) + " -->";
  std::string line;
  int number = 0;
  while (std::getline(in, line) && line != marker) ++number;
  while (std::getline(in, line) && !IsTableLine(line)) ++number;
  const std::vector<std::string> header = Split(line);
  std::getline(in, line);  // |---|---|
  number += 3;             // the marker, the header and the rule
  std::vector<TableRow> rows;
  while (std::getline(in, line) && IsTableLine(line)) {
    ++number;
    const std::vector<std::string> cells = Split(line);
    NURSERY_CHECK(cells.size() == header.size()) << kFile << ":" << number << ": " << cells.size()
                                                 << " cells below " << header.size() << " columns";
    std::vector<std::pair<std::string, std::string>> named;
    for (size_t i = 0; i < cells.size(); ++i) named.emplace_back(header[i], cells[i]);
    rows.emplace_back(number, std::move(named));
  }
  NURSERY_CHECK(!rows.empty()) << kFile << ": no table '" << name << "' with rows";
  return rows;
}

std::string RowName(const testing::TestParamInfo<TableRow>& row) {
  std::string name = std::to_string(row.index + 1);
  for (const auto& [column, cell] : row.param.cells()) {
    name += '_';
    for (const char c : cell) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  }
  return name;
}

}  // namespace nursery::engine
