// Reads the tables of ARCHITECTURE.md, from which the engine's tests are made.
//
//   INSTANTIATE_TEST_SUITE_P(Architecture, JoinTest, testing::ValuesIn(ReadTable("joins")),
//                            RowName);
#ifndef NURSERY_TESTS_ENGINE_MARKDOWN_TABLE_H_
#define NURSERY_TESTS_ENGINE_MARKDOWN_TABLE_H_

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace nursery::engine {

class TableRow {
 public:
  TableRow(int line, std::vector<std::pair<std::string, std::string>> cells)
      : line_(line), cells_(std::move(cells)) {}

  // The cell below `column`; aborts if the table has no such column.
  const std::string& operator[](std::string_view column) const;

  // The words of a cell that lists some, separated by blanks.
  std::vector<std::string> Words(std::string_view column) const;

  // (column, cell) in the order of the table.
  const std::vector<std::pair<std::string, std::string>>& cells() const { return cells_; }
  int line() const { return line_; }

  friend void PrintTo(const TableRow& row, std::ostream* out);

 private:
  int line_;
  std::vector<std::pair<std::string, std::string>> cells_;
};

// The rows of the table below the comment `<!-- table: NAME -->`; aborts if there is no such table
// or a row has not as many cells as the header, or there is no row.
std::vector<TableRow> ReadTable(std::string_view name);

// A test name from the row's cells, as in "12_all_3_success_failure".
std::string RowName(const testing::TestParamInfo<TableRow>& row);

// The value of `values` whose Name() is `name`; aborts if there is none.
template <typename Enum, typename Values>
Enum FromName(std::string_view name, const Values& values) {
  for (const Enum value : values) {
    if (Name(value) == name) return value;
  }
  ADD_FAILURE() << "ARCHITECTURE.md says '" << name << "', which is no name";
  std::abort();
}

}  // namespace nursery::engine

#endif  // NURSERY_TESTS_ENGINE_MARKDOWN_TABLE_H_
