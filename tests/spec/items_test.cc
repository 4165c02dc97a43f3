#include "server/spec/items.h"

#include <gmock/gmock.h>

#include <string>

namespace nursery::spec {
namespace {

std::vector<std::string> Texts(const ItemSet& items) {
  std::vector<std::string> texts;
  for (int64_t i = 0; i < items.size(); ++i) texts.push_back(items.At(i).Text());
  return texts;
}

TEST(ItemSetTest, EmptyByDefault) { EXPECT_EQ(ItemSet().size(), 0); }

TEST(ItemSetTest, ListIsCutAtItsOffsets) {
  const ItemSet items = ItemSet::List("abbccc", {1, 3, 3, 6}, Value::Type::kString);
  EXPECT_THAT(Texts(items), testing::ElementsAre("a", "bb", "", "ccc"));
}

TEST(ItemSetTest, LastLineNeedsNoNewline) {
  EXPECT_THAT(Texts(ItemSet::Lines("a\n\nb")), testing::ElementsAre("a", "", "b"));
  EXPECT_THAT(Texts(ItemSet::Lines("a\nb\n")), testing::ElementsAre("a", "b"));
  EXPECT_EQ(ItemSet::Lines("").size(), 0);
}

TEST(ItemSetTest, RangeCountsDownToo) {
  EXPECT_THAT(Texts(ItemSet::Range(5, -2, 3)), testing::ElementsAre("5", "3", "1"));
}

TEST(ItemSetTest, MatrixTurnsItsLastAxisFastest) {
  const ItemSet items = ItemSet::Matrix({{"cc", {"gcc", "clang"}}, {"v", {"1.10", "2"}}}, {});
  EXPECT_THAT(Texts(items),
              testing::ElementsAre(R"({"cc":"gcc","v":"1.10"})", R"({"cc":"gcc","v":"2"})",
                                   R"({"cc":"clang","v":"1.10"})", R"({"cc":"clang","v":"2"})"));
  EXPECT_EQ(items.At(0).Field("v")->Text(), "1.10");
}

TEST(ItemSetTest, ExcludedCombinationsLeaveNoGap) {
  const ItemSet items = ItemSet::Matrix({{"a", {"1", "2"}}, {"b", {"x", "y"}}}, {{0, 1}, {1, -1}});
  EXPECT_THAT(Texts(items), testing::ElementsAre(R"({"a":"1","b":"x"})"));
}

}  // namespace
}  // namespace nursery::spec
