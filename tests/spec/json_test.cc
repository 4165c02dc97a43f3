#include "server/spec/json.h"

#include <gtest/gtest.h>

#include <string>

namespace nursery::spec {
namespace {

TEST(JsonTest, AcceptsWhatTheStandardDoes) {
  for (const char* text : {"0", "-1.5e+3", "\"\"", "[]", "{}", " [1, {\"a\": [null, true]}] ",
                           "\"\\u00e9\\ud83d\\ude00\"", "false"}) {
    EXPECT_TRUE(IsJson(text)) << text;
  }
}

TEST(JsonTest, RefusesWhatTheStandardDoes) {
  for (const char* text : {"", "01", "1.", ".5", "+1", "'a'", "[1,]", "{\"a\"}", "{a: 1}", "\"\n\"",
                           "\"\\x\"", "\"\\u12g4\"", "nul", "1 2", "[", "\"abc"}) {
    EXPECT_FALSE(IsJson(text)) << text;
  }
}

TEST(JsonTest, DepthIsBounded) {
  EXPECT_TRUE(IsJson(std::string(64, '[') + std::string(64, ']')));
  EXPECT_FALSE(IsJson(std::string(100000, '[')));
}

TEST(JsonTest, NumbersAreToldFromText) {
  EXPECT_TRUE(IsJsonNumber("1.10"));
  EXPECT_FALSE(IsJsonNumber("1.10.2"));
  EXPECT_FALSE(IsJsonNumber(""));
}

TEST(JsonTest, QuoteAndUnquoteAreInverse) {
  const std::string text = "a\"b\\c\nd\te\x01 \xc3\xa9";
  EXPECT_TRUE(IsJson(JsonQuote(text)));
  EXPECT_EQ(JsonUnquote(JsonQuote(text)), text);
}

TEST(JsonTest, SurrogatePairsAreJoined) {
  EXPECT_EQ(JsonUnquote("\"\\ud83d\\ude00\\u00e9\\u20ac\""),
            "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac");
  EXPECT_EQ(JsonUnquote("\"\\ud83d!\""), "\xef\xbf\xbd!");
}

TEST(JsonTest, MemberIsFoundAtTheTopLevelOnly) {
  EXPECT_EQ(JsonMember(R"({"a": {"b": 1}, "b": [2, 3]})", "b"), "[2, 3]");
  EXPECT_EQ(JsonMember(R"({"\u0061": 1})", "a"), "1");
  EXPECT_EQ(JsonMember(R"({"a": 1})", "c"), std::nullopt);
  EXPECT_EQ(JsonMember("[1]", "a"), std::nullopt);
  EXPECT_EQ(JsonMember("{broken", "a"), std::nullopt);
}

}  // namespace
}  // namespace nursery::spec
