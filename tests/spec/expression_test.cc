#include "server/spec/expression.h"

#include <gtest/gtest.h>

#include "nursery/core/status.h"

namespace nursery::spec {
namespace {

using Source = Expression::Source;
using Function = Expression::Function;

class FakeScope : public Scope {
 public:
  absl::StatusOr<Value> Item(NodeIndex map) const override {
    return map == 1 ? Value::Json(R"({"cc": "g c'c", "n": 1.10})") : Value::String("a b");
  }
  int64_t Index(NodeIndex) const override { return 7; }
  std::string Key(NodeIndex) const override { return "gcc"; }
  absl::StatusOr<std::string> Output(NodeIndex sibling) const override {
    if (sibling == 9) return Error(absl::StatusCode::kFailedPrecondition, "is truncated");
    return "out";
  }
  std::string JobId() const override { return "01JD"; }
  std::string JobName() const override { return "nightly"; }
  absl::StatusOr<std::string> JobDir() const override { return "/tmp/j"; }
  int Attempt() const override { return 2; }
  std::string Units(int) const override { return "0,2"; }
};

Expression Of(Source source, Function function = Function::kNone, int32_t subject = 0,
              std::vector<std::string> fields = {}) {
  return {source, function, subject, std::move(fields)};
}

Template Make(std::string before, Expression expression, std::string after = "") {
  std::vector<Template::Piece> pieces;
  pieces.push_back({std::move(before), std::make_unique<Expression>(std::move(expression))});
  if (!after.empty()) pieces.push_back({std::move(after), nullptr});
  return Template("source", std::move(pieces));
}

std::string Expanded(const Template& text) {
  const absl::StatusOr<std::string> expanded = text.Expand(FakeScope());
  return expanded.ok() ? *expanded : "error: " + std::string(Message(expanded.status()));
}

TEST(TemplateTest, LiteralIsItself) {
  EXPECT_TRUE(Template().IsLiteral());
  EXPECT_EQ(Expanded(Template()), "");
  EXPECT_EQ(Expanded(Template::Literal("$HOME ${x}")), "$HOME ${x}");
}

TEST(TemplateTest, EverySourceIsReplaced) {
  EXPECT_EQ(Expanded(Make("<", Of(Source::kItem), ">")), "<a b>");
  EXPECT_EQ(Expanded(Make("", Of(Source::kIndex))), "7");
  EXPECT_EQ(Expanded(Make("", Of(Source::kKey))), "gcc");
  EXPECT_EQ(Expanded(Make("", Of(Source::kOutput))), "out");
  EXPECT_EQ(Expanded(Make("", Of(Source::kJobId))), "01JD");
  EXPECT_EQ(Expanded(Make("", Of(Source::kJobName))), "nightly");
  EXPECT_EQ(Expanded(Make("", Of(Source::kJobDir))), "/tmp/j");
  EXPECT_EQ(Expanded(Make("", Of(Source::kAttempt))), "2");
  EXPECT_EQ(Expanded(Make("", Of(Source::kUnits))), "0,2");
}

TEST(TemplateTest, FieldsKeepTheirSourceText) {
  EXPECT_EQ(Expanded(Make("v", Of(Source::kItem, Function::kNone, 1, {"n"}))), "v1.10");
  EXPECT_EQ(Expanded(Make("", Of(Source::kItem, Function::kNone, 1, {"cc"}))), "g c'c");
}

TEST(TemplateTest, FunctionsQuote) {
  EXPECT_EQ(Expanded(Make("", Of(Source::kItem, Function::kShell, 1, {"cc"}))), R"('g c'\''c')");
  EXPECT_EQ(Expanded(Make("", Of(Source::kItem, Function::kUrlencode))), "a%20b");
  EXPECT_EQ(Expanded(Make("", Of(Source::kItem, Function::kJson))), R"("a b")");
}

TEST(TemplateTest, MissingFieldNamesItself) {
  EXPECT_EQ(Expanded(Make("", Of(Source::kItem, Function::kNone, 1, {"os"}))),
            R"(error: source: '{"cc": "g c'c", "n": 1.10}' has no field 'os')");
}

TEST(TemplateTest, ErrorOfTheScopeIsPassedOn) {
  EXPECT_EQ(Expanded(Make("", Of(Source::kOutput, Function::kNone, 9))),
            "error: source: is truncated");
}

TEST(TemplateTest, SingleExpressionIsTyped) {
  const absl::StatusOr<Value> value = Make("", Of(Source::kIndex)).Evaluate(FakeScope());
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->type, Value::Type::kJson);
  EXPECT_EQ(*value->ToInt64(), 7);
  EXPECT_FALSE(Value::String("7x").ToInt64().ok());
  EXPECT_EQ(*Value::String("42").ToInt64(), 42);
}

}  // namespace
}  // namespace nursery::spec
