#include "server/warden/process_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace nursery::warden {
namespace {

ProcessSpec FullSpec() {
  ProcessSpec spec;
  spec.argv = {"prog", "", "an argument", std::string(1000, 'x')};
  spec.env = {"A=1", "EMPTY="};
  spec.cwd = "/some/where";
  spec.limits[static_cast<size_t>(Limit::kFiles)] = 64;
  spec.limits[static_cast<size_t>(Limit::kProcesses)] = 0;
  spec.tree_limits[static_cast<size_t>(TreeLimit::kMemory)] = uint64_t{1} << 40;
  spec.tree_limits[static_cast<size_t>(TreeLimit::kCpuWeight)] = 0;
  spec.account = Account{65534, 7, {7, 8, 4'000'000'000}};
  spec.nice = -3;
  spec.umask = 077;
  spec.no_new_privs = false;
  return spec;
}

std::vector<std::string> Strings(const std::vector<char*>& list) {
  return std::vector<std::string>(list.begin(), list.end() - 1);
}

TEST(ProcessSpecTest, DecodesWhatWasEncoded) {
  const ProcessSpec spec = FullSpec();
  std::string bytes = EncodeSpec(spec);
  const std::optional<SpecView> view = DecodeSpec(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(Strings(view->argv), spec.argv);
  EXPECT_EQ(Strings(view->env), spec.env);
  EXPECT_EQ(view->argv.back(), nullptr);
  EXPECT_EQ(view->env.back(), nullptr);
  EXPECT_EQ(view->cwd, spec.cwd);
  EXPECT_EQ(view->limits, spec.limits);
  EXPECT_EQ(view->tree_limits, spec.tree_limits);
  EXPECT_EQ(view->account, spec.account);
  EXPECT_EQ(view->nice, -3);
  EXPECT_EQ(view->umask, 077u);
  EXPECT_FALSE(view->no_new_privs);
}

TEST(ProcessSpecTest, WithoutAnAccountThereIsNone) {
  ProcessSpec spec = FullSpec();
  spec.account.reset();
  std::string bytes = EncodeSpec(spec);
  const std::optional<SpecView> view = DecodeSpec(bytes);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->account);
  spec.account.emplace();
  std::string of_root = EncodeSpec(spec);
  const std::optional<SpecView> root = DecodeSpec(of_root);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->account, Account());
}

TEST(ProcessSpecTest, EveryTruncationIsRefused) {
  const std::string bytes = EncodeSpec(FullSpec());
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string cut = bytes.substr(0, size);
    EXPECT_FALSE(DecodeSpec(cut)) << size;
  }
}

TEST(ProcessSpecTest, TrailingBytesAreRefused) {
  std::string bytes = EncodeSpec(FullSpec()) + 'x';
  EXPECT_FALSE(DecodeSpec(bytes));
}

TEST(ProcessSpecTest, DamagedBytesAreRefusedOrReadWithinBounds) {
  const std::string bytes = EncodeSpec(FullSpec());
  std::mt19937 random(7);
  for (int trial = 0; trial < 20000; ++trial) {
    // On the heap and without slack: a sanitizer sees a read outside.
    std::vector<char> damaged(bytes.begin(), bytes.end());
    for (unsigned i = 0; i <= random() % 4; ++i) {
      // Mostly in the header, where the counts are.
      const size_t limit = random() % 4 == 0 ? damaged.size() : 128;
      damaged[random() % limit] = static_cast<char>(random());
    }
    const std::optional<SpecView> view = DecodeSpec(damaged);
    if (view) EXPECT_EQ(view->argv.back(), nullptr);
  }
}

TEST(ProcessSpecTest, ValidationSaysWhatIsWrong) {
  using testing::HasSubstr;
  EXPECT_EQ(ValidateSpec(FullSpec()), "");
  EXPECT_THAT(ValidateSpec({}), HasSubstr("argv[0] is empty"));
  ProcessSpec spec = FullSpec();
  spec.cwd = "relative";
  EXPECT_THAT(ValidateSpec(spec), HasSubstr("\"relative\" is not an absolute path"));
  spec = FullSpec();
  spec.argv.push_back(std::string("a\0b", 3));
  EXPECT_THAT(ValidateSpec(spec), HasSubstr("argv[4] has a NUL byte"));
  spec = FullSpec();
  spec.env.push_back("NOVALUE");
  EXPECT_THAT(ValidateSpec(spec), HasSubstr("\"NOVALUE\" is not of the form NAME=value"));
  spec = FullSpec();
  spec.argv.push_back(std::string(kMaxSpecBytes, 'x'));
  EXPECT_THAT(ValidateSpec(spec), HasSubstr("over the limit of 8388608"));
}

}  // namespace
}  // namespace nursery::warden
