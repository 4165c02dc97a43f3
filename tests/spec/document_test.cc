#include "server/spec/document.h"

#include <gtest/gtest.h>

#include <string>

#include "server/spec/limits.h"

namespace nursery::spec {
namespace {

std::string FirstViolation(const std::string& text) {
  ViolationList violations;
  Document::Parse(text, violations);
  return violations.empty() ? "" : Format(violations.violations()[0], "");
}

TEST(DocumentTest, KeepsTheSourceTextOfScalars) {
  ViolationList violations;
  const auto document = Document::Parse("[1.10, yes, 0x10, null, \"a b\"]", violations);
  ASSERT_TRUE(document.has_value());
  const char* expected[] = {"1.10", "yes", "0x10", "null", "a b"};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(document->Text(document->Item(document->root(), i)), expected[i]);
  }
  EXPECT_TRUE(document->at(document->Item(document->root(), 0)).plain);
  EXPECT_FALSE(document->at(document->Item(document->root(), 4)).plain);
}

TEST(DocumentTest, KnowsLineAndColumn) {
  ViolationList violations;
  const auto document = Document::Parse("a:\n  - b: c\n", violations);
  ASSERT_TRUE(document.has_value());
  const Document::Id inner = document->Item(*document->Find(document->root(), "a"), 0);
  const Document::Element& value = document->at(*document->Find(inner, "b"));
  EXPECT_EQ(value.line, 2u);
  EXPECT_EQ(value.column, 8u);
}

TEST(DocumentTest, AliasIsTheSameElement) {
  ViolationList violations;
  const auto document = Document::Parse("{a: &x [1], b: *x}", violations);
  ASSERT_TRUE(document.has_value());
  EXPECT_EQ(document->Find(document->root(), "a"), document->Find(document->root(), "b"));
}

TEST(DocumentTest, JsonSurrogatePairsAreAccepted) {
  ViolationList violations;
  const auto document = Document::Parse(R"({"a": "\\\ud83d\ude00\u00e9"})", violations);
  ASSERT_TRUE(document.has_value());
  EXPECT_EQ(document->Text(*document->Find(document->root(), "a")), "\\\xf0\x9f\x98\x80\xc3\xa9");
}

TEST(DocumentTest, TextOfAScriptIsLeftAlone) {
  ViolationList violations;
  const auto document = Document::Parse("a: '\\ud83d\\ude00'", violations);
  ASSERT_TRUE(document.has_value());
  EXPECT_EQ(document->Text(*document->Find(document->root(), "a")), "\\ud83d\\ude00");
}

TEST(DocumentTest, DepthIsBounded) {
  const std::string deep = std::string(100'000, '[');
  EXPECT_NE(FirstViolation(deep).find("nested deeper than the limit of 100"), std::string::npos);
}

TEST(DocumentTest, SizeIsBounded) {
  EXPECT_EQ(FirstViolation(std::string(kMaxFileBytes + 1, ' ')),
            "the file is over the limit of 16 MiB");
}

// A thousand million elements in a few lines: refused without making them.
TEST(DocumentTest, AliasesOfAliasesAreCounted) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 40; ++i) {
    const std::string inner = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) bomb += inner + " , ";
    bomb += inner + " ]\n";
  }
  EXPECT_NE(FirstViolation(bomb).find("aliases make the file"), std::string::npos);
}

TEST(DocumentTest, AliasOfWhatContainsItIsRefused) {
  EXPECT_NE(FirstViolation("a: &x [*x ]").find("no anchor '&x' before"), std::string::npos);
}

TEST(DocumentTest, DuplicateKeysDoNotHideTheRest) {
  ViolationList violations;
  EXPECT_TRUE(Document::Parse("{a: 1, a: 2, b: {c: 1, c: 2}}", violations).has_value());
  EXPECT_EQ(violations.total(), 2u);
  EXPECT_EQ(Format(violations.violations()[1], "f"), "f:1:24: b.c: is set twice; first at 1:18");
}

}  // namespace
}  // namespace nursery::spec
