#include "nursery/core/label.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

namespace nursery {
namespace {

std::string_view View(const Label& label) { return label; }

TEST(LabelTest, ALiteralIsReferredTo) {
  static constexpr char kText[] = "fetch";
  const Label label = kText;
  EXPECT_EQ(View(label).data(), kText);
  EXPECT_EQ(View(label), "fetch");
  EXPECT_EQ(View(Label(label)).data(), kText);
  EXPECT_TRUE(Label("").empty());
  EXPECT_EQ(View(Label("a\0b")), std::string_view("a\0b", 3));
}

TEST(LabelTest, AnyOtherTextIsCopied) {
  std::string text = "fetch 1";
  const Label of_string = text;
  const Label of_view = std::string_view(text).substr(0, 5);
  const char* const pointer = text.c_str();
  const Label of_pointer = pointer;
  text = "nothing";
  EXPECT_EQ(View(of_string), "fetch 1");
  EXPECT_EQ(View(of_view), "fetch");
  EXPECT_EQ(View(of_pointer), "fetch 1");
  EXPECT_TRUE(Label(std::string()).empty());
}

TEST(LabelTest, AnArrayThatMayChangeIsCopiedUpToItsEnd) {
  static char text[32] = "fetch";
  const Label label = text;
  const TaskName name = text;
  text[0] = 'm';
  EXPECT_EQ(View(label), "fetch");
  EXPECT_EQ(View(name.text), "fetch");
  char local[8] = "one";
  EXPECT_EQ(View(Label(local)), "one");
}

TEST(LabelTest, ACopyIsItsOwn) {
  Label first = std::string(100, 'a');
  const Label second = first;
  EXPECT_NE(View(first).data(), View(second).data());
  Label third = std::move(first);
  EXPECT_EQ(View(third), View(second));
  third = "short";
  EXPECT_EQ(View(third), "short");
  third = second;
  EXPECT_EQ(View(third), View(second));
  EXPECT_NE(View(third).data(), View(second).data());
  EXPECT_EQ(View(second), std::string(100, 'a'));
}

TaskName NameOf(TaskName name) { return name; }

TEST(LabelTest, ATaskNameKnowsItsLine) {
  const uint_least32_t line = __LINE__;
  const TaskName literal = NameOf("fetch");
  const TaskName copied = NameOf(std::string("fetch"));
  EXPECT_EQ(literal.site.line(), line + 1);
  EXPECT_EQ(copied.site.line(), line + 2);
  const TaskName second = internal::Extended(copied, "2");
  EXPECT_EQ(View(second.text), "fetch 2");
  EXPECT_EQ(second.site.line(), line + 2);
}

}  // namespace
}  // namespace nursery
