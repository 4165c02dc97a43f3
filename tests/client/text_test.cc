#include "client/cli/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/engine/text.h"

namespace nursery::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TextTest, NothingThatATerminalWouldObeyIsPrinted) {
  EXPECT_EQ(Printable("a\x1b[31mred\x1b[0m b"), "ared b");
  EXPECT_EQ(Printable("title\x1b]0;evil\a end"), "title end");
  EXPECT_EQ(Printable("over\rwritten\bx\x7f"), "overwrittenx");
  EXPECT_EQ(Printable("c1 \u009b31m"), "c1 31m");
  EXPECT_EQ(Printable("right to \u202eleft"), "right to left");
  EXPECT_EQ(Printable("tab\there"), "tab here");
  EXPECT_EQ(Printable("cut \x1b"), "cut ");
}

TEST(TextTest, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(engine::ToUtf8("grün"), "grün");
  EXPECT_EQ(engine::ToUtf8("gr\xfcn"), "gr\ufffdn");
  EXPECT_EQ(engine::ToUtf8("\xc0\xaf"), "\ufffd\ufffd");
  EXPECT_EQ(engine::ToUtf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(engine::ToUtf8("\xe2\x82"), "\ufffd\ufffd");
  EXPECT_EQ(Printable("\xff"), "\ufffd");
}

TEST(TextTest, LinesHaveNoEmptyEnd) {
  EXPECT_THAT(PrintableLines("a\n\nb\n\n"), ElementsAre("a", "", "b"));
  EXPECT_THAT(PrintableLines(""), IsEmpty());
}

TEST(TextTest, ColumnsAreThoseOfATerminal) {
  EXPECT_EQ(Columns("├─ count"), 8u);
  EXPECT_EQ(Columns("日本"), 4u);
  EXPECT_EQ(Columns("e\u0301"), 1u);
}

TEST(TextTest, CutNeverTakesMoreColumns) {
  EXPECT_EQ(CutTo("abcdef", 6), "abcdef");
  EXPECT_EQ(CutTo("abcdef", 4), "abc…");
  EXPECT_EQ(CutTo("日本語", 4), "日…");
  EXPECT_EQ(CutTo("abc", 0), "");
}

TEST(TextTest, PaddingCountsColumns) {
  EXPECT_EQ(PadRight("日", 4), "日  ");
  EXPECT_EQ(PadLeft("0.4s", 6), "  0.4s");
  EXPECT_EQ(PadLeft("longer", 3), "longer");
}

TEST(TextTest, NumbersAreGrouped) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(106'212), "106,212");
  EXPECT_EQ(Grouped(1'000'000), "1,000,000");
  EXPECT_EQ(Grouped(-106'212), "-106,212");
  EXPECT_EQ(Grouped(-100), "-100");
  EXPECT_EQ(Counted(1, "node"), "1 node");
  EXPECT_EQ(Counted(1400, "item"), "1,400 items");
}

}  // namespace
}  // namespace nursery::cli
