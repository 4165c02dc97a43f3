#include "server/spec/load.h"

#include <gtest/gtest.h>

#include <string>

#include "nursery/v1/config.pb.h"
#include "nursery/v1/job.pb.h"

namespace nursery::spec {
namespace {

using namespace std::chrono_literals;

LoadedJob Load(const std::string& text, const LoadOptions& options = {}) {
  return LoadJobText(text, "job.yaml", ".", options);
}

TEST(LoadTest, ShortFormsMeanTheFullForm) {
  const LoadedJob short_form = Load("name: x\nnodes: [{name: a, sleep: 1s}]\nlimit: 2\njoin: any");
  const LoadedJob full_form = Load(
      "name: x\nroot: {group: {nodes: [{name: a, sleep: {duration: 1s}}], limit: 2, join: any}}");
  ASSERT_EQ(Describe("", short_form) + Describe("", full_form), "0 errors\n0 errors\n");
  EXPECT_EQ(short_form.spec->SerializeAsString(), full_form.spec->SerializeAsString());
}

TEST(LoadTest, JsonIsTheSameLanguage) {
  const LoadedJob yaml = Load("name: x\nexec: {argv: [echo, 1.10]}\nlabels: {a: b}");
  const LoadedJob json =
      Load("{\"name\":\"x\",\n\t\"exec\":{\"argv\":[\"echo\",\"1.10\"]},\"labels\":{\"a\":\"b\"}}");
  ASSERT_EQ(Describe("", yaml) + Describe("", json), "0 errors\n0 errors\n");
  EXPECT_EQ(yaml.spec->SerializeAsString(), json.spec->SerializeAsString());
}

TEST(LoadTest, TimeoutRemembersItsLine) {
  const LoadedJob loaded = Load("name: x\ntimeout: 10m\nsleep: 1s\n");
  ASSERT_NE(loaded.job, nullptr);
  EXPECT_EQ(loaded.job->source_file, "job.yaml");
  EXPECT_EQ(loaded.job->timeout->limit, 10min);
  EXPECT_EQ(loaded.job->timeout->mark.line, 2u);
  EXPECT_EQ(loaded.job->timeout->mark.column, 10u);
}

TEST(LoadTest, AtMostFiftyErrorsAreShownAndAllAreCounted) {
  std::string text = "name: x\nnodes:\n";
  for (int i = 0; i < 60; ++i) {
    text += "  - {name: n" + std::to_string(i) + ", sleep: 10}\n";
  }
  const LoadedJob loaded = Load(text);
  EXPECT_EQ(loaded.violations.size(), 50u);
  EXPECT_EQ(loaded.total_violations, 60u);
  EXPECT_NE(Describe("job.yaml", loaded).find("... and 10 more\n60 errors\n"), std::string::npos);
  EXPECT_TRUE(Describe("job.yaml", loaded).starts_with("job.yaml:3:23: nodes[0].sleep: 10 needs"));
}

TEST(LoadTest, ReadingErrorHidesWhatFollowsFromIt) {
  EXPECT_EQ(Describe("", Load("name: x\nnodes:\n  - {name: a, exce: {argv: [ls]}}\n")),
            "3:15: nodes[0].exce: unknown field; did you mean 'exec'?\n1 error\n");
  EXPECT_EQ(Describe("", Load("nmae: x\nsleep: 1s\n")),
            "1:1: nmae: unknown field; did you mean 'name'?\n1 error\n");
}

TEST(LoadTest, ArgumentsAreFoldedIn) {
  LoadOptions options;
  options.arguments = {{"day", "24"}};
  const LoadedJob loaded = Load(
      "name: x\nparams: {day: {required: true}, month: {default: '11'}}\n"
      "exec: {argv: [echo, '${{ param.month }}-${{ shell(param.day) }}']}\n",
      options);
  ASSERT_EQ(Describe("", loaded), "0 errors\n");
  const auto& exec = std::get<Exec>(*loaded.job->node(0).action);
  EXPECT_TRUE(exec.argv[1].IsLiteral());
  EXPECT_EQ(exec.argv[1].Source(), "11-'24'");
}

TEST(LoadTest, ArgumentsAreChecked) {
  LoadOptions options;
  options.arguments = {{"dya", "24"}};
  EXPECT_EQ(Describe("", Load("name: x\nparams:\n  day: {required: true}\nsleep: 1s\n", options)),
            "1:1: arguments.dya: is no parameter of this job; params: day\n"
            "3:8: params.day: is required; give it, as in --param day=VALUE\n2 errors\n");
}

TEST(LoadTest, ExpressionInAShellScriptIsWarnedOf) {
  const std::string before = "name: x\nmap:\n  items: [a]\n  node: {exec: {argv: [sh, -c, ";
  const LoadedJob loaded = Load(before + "'wget ${{ item }}']}}\n");
  ASSERT_NE(loaded.job, nullptr);
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_EQ(loaded.warnings[0].path, "map.node.exec.argv[2]");
  EXPECT_EQ(loaded.warnings[0].line, 4);
  EXPECT_TRUE(Load(before + "'wget ${{ shell(item) }}']}}\n").warnings.empty());
}

TEST(LoadTest, MissingFileIsAnErrorNotAViolation) {
  EXPECT_EQ(LoadJobFile("tests/spec/no-such-file.yaml", {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(LoadTest, ItemsOfAFileAreItsLines) {
  const absl::StatusOr<LoadedJob> loaded = [] {
    LoadOptions options;
    options.arguments["date"] = "today";
    return LoadJobFile("tests/spec/good/nightly-report.yaml", options);
  }();
  ASSERT_TRUE(loaded.ok());
  ASSERT_NE(loaded->job, nullptr);
  const Node& fetch = loaded->job->node(loaded->job->node(0).first_child);
  const auto& items = std::get<ItemSet>(fetch.map->items);
  ASSERT_EQ(items.size(), 2);
  EXPECT_EQ(items.At(1).Text(), "https://example.org/b");
}

// Linear in the file: no time is spent per pair of items.
TEST(LoadTest, ManyItemsCostLittleMoreThanTheirBytes) {
  std::string text = "name: x\nmap:\n  node: {call: noop}\n  items: [0";
  for (int i = 1; i < 100'000; ++i) text += "," + std::to_string(i);
  const LoadedJob loaded = Load(text + "]\n");
  ASSERT_NE(loaded.job, nullptr);
  const auto& items = std::get<ItemSet>(loaded.job->node(0).map->items);
  EXPECT_EQ(items.size(), 100'000);
  EXPECT_EQ(items.At(99'999).Text(), "99999");
  EXPECT_LT(loaded.spec->ByteSizeLong(), text.size() + 1000);
}

TEST(LoadConfigTest, ReadsUnits) {
  v1::ServerConfig config;
  EXPECT_TRUE(LoadConfigText("pools: [{name: default, slots: 4}]\n"
                             "limits: {admitted_bytes: 1GiB}\nretention: {age: 7d}\n",
                             config)
                  .empty());
  EXPECT_EQ(config.pools(0).slots(), 4);
  EXPECT_EQ(config.limits().admitted_bytes(), 1 << 30);
  EXPECT_EQ(config.retention().age().seconds(), 7 * 86'400);
}

TEST(LoadConfigTest, NamesWhatIsWrong) {
  v1::ServerConfig config;
  const std::vector<Violation> violations = LoadConfigText("limits: {live_job: 3}\n", config);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(Format(violations[0], "c.yaml"),
            "c.yaml:1:10: limits.live_job: unknown field; did you mean 'live_jobs'?");
}

}  // namespace
}  // namespace nursery::spec
