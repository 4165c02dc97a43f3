// Job files, each a test case. tests/spec/bad holds NAME.yaml with NAME.expect, the violations it
// must give, and NAME.good.yaml, the same file put right. tests/spec/good holds files as users
// write them.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "nursery/core/status.h"
#include "server/spec/load.h"

namespace nursery::spec {
namespace {

namespace fs = std::filesystem;

std::string Content(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

LoadedJob Load(const fs::path& path) {
  LoadOptions options;
  options.compile.pools = {"default", "io"};
  options.compile.functions = {"noop", "fail", "block"};
  // Every job of the corpus that has params takes this one.
  if (Content(path).find("params:") != std::string::npos) options.arguments["date"] = "2026-11-24";
  absl::StatusOr<LoadedJob> loaded = LoadJobFile(path, options);
  EXPECT_TRUE(loaded.ok()) << loaded.status().ToString();
  return loaded.ok() ? *std::move(loaded) : LoadedJob();
}

std::string Lines(const std::vector<Violation>& violations) {
  std::string lines;
  for (const Violation& violation : violations) lines += Format(violation, "") + "\n";
  return lines;
}

std::vector<fs::path> Files(const std::string& directory, const std::string& ending) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.path().string().ends_with(ending)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string CaseName(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.stem();
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

class BadFileTest : public testing::TestWithParam<fs::path> {
 protected:
  // The job file beside the .expect file, whichever form it has.
  fs::path JobFile(const std::string& suffix) const {
    const fs::path yaml = fs::path(GetParam()).replace_extension(suffix + ".yaml");
    return fs::exists(yaml) ? yaml : fs::path(GetParam()).replace_extension(suffix + ".json");
  }
};

TEST_P(BadFileTest, SaysWhatIsWrongWhere) {
  EXPECT_EQ(Lines(Load(JobFile("")).violations), Content(GetParam()));
}

TEST_P(BadFileTest, TwinIsRight) {
  const LoadedJob loaded = Load(JobFile(".good"));
  EXPECT_EQ(Lines(loaded.violations), "");
  EXPECT_NE(loaded.job, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Corpus, BadFileTest, testing::ValuesIn(Files("tests/spec/bad", ".expect")),
                         CaseName);

class GoodFileTest : public testing::TestWithParam<fs::path> {};

TEST_P(GoodFileTest, IsAccepted) {
  const LoadedJob loaded = Load(GetParam());
  EXPECT_EQ(Lines(loaded.violations), "");
  EXPECT_EQ(Lines(loaded.warnings), "");
  EXPECT_NE(loaded.job, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Corpus, GoodFileTest, testing::ValuesIn(Files("tests/spec/good", "ml")),
                         CaseName);

TEST(CorpusTest, IsLargeEnough) {
  const std::vector<fs::path> expected = Files("tests/spec/bad", ".expect");
  EXPECT_GE(expected.size(), 40u);
  const auto three = std::count_if(expected.begin(), expected.end(), [](const fs::path& path) {
    const std::string lines = Content(path);
    return std::count(lines.begin(), lines.end(), '\n') >= 3;
  });
  EXPECT_GE(three, 3);
}

}  // namespace
}  // namespace nursery::spec
