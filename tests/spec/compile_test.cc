#include "server/spec/compile.h"

#include <gmock/gmock.h>

#include <string>

#include "nursery/v1/job.pb.h"
#include "server/spec/load.h"

namespace nursery::spec {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const Job> CompileText(const std::string& text) {
  const LoadedJob loaded = LoadJobText(text, "", ".", {});
  EXPECT_NE(loaded.job, nullptr) << Describe("", loaded);
  return loaded.job;
}

const Node& Find(const Job& job, const std::string& path) {
  for (const Node& node : job.nodes) {
    if (job.PathOf(node.index) == path) return node;
  }
  ADD_FAILURE() << "no node " << path;
  return job.nodes[0];
}

v1::JobSpec Minimal() {
  v1::JobSpec spec;
  spec.set_name("x");
  spec.mutable_root()->mutable_call()->set_function("noop");
  return spec;
}

std::string Violations(const v1::JobSpec& spec, const CompileOptions& options = {}) {
  std::string lines;
  for (const Violation& violation : Compile(spec, options).violations) {
    lines += Format(violation, "") + "\n";
  }
  return lines;
}

TEST(CompileTest, TreeIsFlatAndParentsComeFirst) {
  const auto job = CompileText(
      "name: x\n"
      "nodes:\n"
      "  - {name: a, nodes: [{name: b, sleep: 1s}, {name: c, sleep: 1s}]}\n"
      "  - {name: d, map: {items: [1], node: {nodes: [{name: e, call: noop}]}}}\n");
  std::vector<std::string> paths;
  for (const Node& node : job->nodes) {
    paths.push_back(job->PathOf(node.index));
    EXPECT_LT(node.parent, node.index);
    for (const NodeIndex child : job->Children(node.index)) {
      EXPECT_EQ(job->node(child).parent, node.index);
    }
  }
  EXPECT_THAT(paths, testing::ElementsAre("", "a", "d", "a/b", "a/c", "d[]", "d[]/e"));
}

TEST(CompileTest, NeedsAndDependentsMirrorEachOther) {
  const auto job = CompileText(
      "name: x\nnodes:\n  - {name: a, sleep: 1s}\n  - {name: b, sleep: 1s, needs: [c, a]}\n"
      "  - {name: c, sleep: 1s, needs: [a]}\n");
  EXPECT_THAT(Find(*job, "b").needs(), testing::ElementsAre(1, 3));
  EXPECT_THAT(Find(*job, "a").dependents(), testing::ElementsAre(2, 3));
  EXPECT_THAT(Find(*job, "c").dependents(), testing::ElementsAre(2));
}

TEST(CompileTest, NearestDefaultWinsAndEnvMerges) {
  const auto job = CompileText(
      "name: x\npriority: 3\n"
      "defaults: {timeout: 1m, retry: {max_attempts: 2}, env: {A: job, B: job}, grace: 1s}\n"
      "nodes:\n"
      "  - name: g\n    pool: io\n    defaults: {env: {B: group, C: group}, cwd: /g}\n"
      "    nodes:\n"
      "      - {name: a, exec: {argv: [env], env: {C: own}}, priority: 7}\n"
      "      - {name: b, exec: {argv: [env], cwd: /b}, timeout: none, retry: {max_attempts: 5},\n"
      "         pool: default, grace: 2s}\n");
  const Node& a = Find(*job, "g/a");
  const Node& b = Find(*job, "g/b");
  EXPECT_EQ(a.options->timeout.limit, 1min);
  EXPECT_FALSE(b.options->timeout.limited());
  EXPECT_FALSE(Find(*job, "g").options->timeout.limited()) << "defaults are for actions";
  EXPECT_EQ(a.options->retry->max_attempts, 2);
  EXPECT_EQ(b.options->retry->max_attempts, 5);
  EXPECT_EQ(a.priority, 7);
  EXPECT_EQ(b.priority, 3);
  EXPECT_EQ(job->pools[a.pool], "io");
  EXPECT_EQ(job->pools[b.pool], "default");
  EXPECT_EQ(a.options->grace, 1s);
  EXPECT_EQ(b.options->grace, 2s);
  EXPECT_EQ(std::get<Exec>(*a.action).options->cwd->Source(), "/g");
  EXPECT_EQ(std::get<Exec>(*b.action).options->cwd->Source(), "/b");
  std::string seen;
  for (const EnvLayer::Variable* variable : Environment(std::get<Exec>(*a.action))) {
    seen += variable->name + "=" + variable->value.Source() + " ";
  }
  EXPECT_EQ(seen, "A=job B=job B=group C=group C=own ");
}

TEST(CompileTest, AttemptsAreBoundedUnlessNoneIsSaid) {
  const auto job = CompileText(
      "name: x\nnodes:\n  - {name: a, call: noop}\n"
      "  - {name: b, call: noop, attempt_timeout: none}\n  - {name: c, sleep: 2h}\n");
  EXPECT_EQ(Find(*job, "a").options->attempt_timeout.limit, 1h);
  EXPECT_FALSE(Find(*job, "b").options->attempt_timeout.limited());
  EXPECT_FALSE(Find(*job, "c").options->attempt_timeout.limited());
}

// grace 10 s + the path root 20 s + 5 s, g 3 s + 2 s, a 30 s + 5 s.
TEST(CompileTest, TeardownIsTheLongestPath) {
  const auto job = CompileText(
      "name: x\n"
      "finally: {call: noop, timeout: 20s}\n"
      "nodes:\n"
      "  - name: g\n    grace: 2s\n    finally: {call: noop, timeout: 3s}\n"
      "    nodes:\n"
      "      - {name: a, sleep: 1s, grace: 10s, finally: {call: noop}}\n"
      "      - {name: b, sleep: 1s, finally: {call: noop, timeout: 29s}}\n"
      "  - {name: h, sleep: 1s, finally: {call: noop, timeout: 30s}}\n");
  EXPECT_EQ(job->max_teardown, 10s + 25s + 5s + 35s);
}

TEST(CompileTest, AcquisitionIsInOrderOfDeclaration) {
  const auto job = CompileText(
      "name: x\nsemaphores: [{name: a, size: 1}, {name: b, size: 1}, {name: c, size: 1}]\n"
      "acquire: [{semaphore: b}, {semaphore: a}]\n"
      "nodes: [{name: n, sleep: 1s, acquire: [{semaphore: c}]}]\n");
  EXPECT_EQ(job->node(0).options->acquire[0].semaphore, 0);
  EXPECT_EQ(job->node(0).options->acquire[1].semaphore, 1);
  EXPECT_EQ(job->node(1).options->acquire[0].semaphore, 2);
}

TEST(CompileTest, SemaphoresOfTheServerRankBeforeTheJobs) {
  v1::JobSpec spec = Minimal();
  v1::SemaphoreSpec& own = *spec.add_semaphores();
  own.set_name("own");
  own.set_size(1);
  for (const char* name : {"own", "second", "first"}) {
    v1::AcquireSpec& acquire = *spec.mutable_root()->add_acquire();
    acquire.set_semaphore(name);
    acquire.set_scope(std::string(name) == "own" ? v1::SCOPE_JOB : v1::SCOPE_SERVER);
  }
  CompileOptions options;
  options.semaphores = {{"unused", 1, {}}, {"first", 1, {}}, {"second", 1, {}}};
  const CompileResult result = Compile(spec, options);
  ASSERT_NE(result.job, nullptr);
  std::vector<std::string> names;
  for (const Semaphore& each : result.job->semaphores) names.push_back(each.name);
  EXPECT_THAT(names, testing::ElementsAre("first", "second", "own"));
  std::vector<int> ranks;
  for (const Acquire& each : result.job->node(0).options->acquire) ranks.push_back(each.semaphore);
  EXPECT_THAT(ranks, testing::ElementsAre(0, 1, 2));
  // Where the server is not known, as on the command line, names are not checked.
  EXPECT_EQ(Violations(spec), "");
  options.semaphores = {{"own", 1, {}}};
  EXPECT_EQ(Violations(spec, options),
            "semaphores[0].name: 'own' is the name of a semaphore of the server; choose another\n"
            "root.acquire[0].semaphore: 'own' is a semaphore of the server; say `scope: server`\n"
            "root.acquire[1].semaphore: the server has no semaphore 'second'\n"
            "root.acquire[2].semaphore: the server has no semaphore 'first'\n");
}

v1::AcquireSpec AcquireOf(const std::string& semaphore, v1::Scope scope) {
  v1::AcquireSpec acquire;
  acquire.set_semaphore(semaphore);
  acquire.set_scope(scope);
  return acquire;
}

TEST(CompileTest, TheOrderOfSemaphoresOfAnUnknownServerIsLeftToIt) {
  v1::JobSpec spec = Minimal();
  v1::SemaphoreSpec& own = *spec.add_semaphores();
  own.set_name("own");
  own.set_size(1);
  v1::NodeSpec& inner = *spec.mutable_root()->mutable_group()->add_nodes();
  inner.set_name("inner");
  inner.mutable_call()->set_function("noop");
  *spec.mutable_root()->add_acquire() = AcquireOf("license", v1::SCOPE_SERVER);
  *inner.add_acquire() = AcquireOf("gpu", v1::SCOPE_SERVER);
  EXPECT_EQ(Violations(spec), "");
  CompileOptions options;
  options.semaphores = {{"license", 1, {}}, {"gpu", 1, {}}};
  EXPECT_EQ(Violations(spec, options), "");
  options.semaphores = {{"gpu", 1, {}}, {"license", 1, {}}};
  EXPECT_THAT(Violations(spec, options), testing::HasSubstr("'gpu' is declared before 'license'"));
  // What holds on every server is said at once.
  *inner.mutable_acquire(0) = AcquireOf("license", v1::SCOPE_SERVER);
  EXPECT_THAT(Violations(spec), testing::HasSubstr("'license' is held by the root above it"));
  *inner.mutable_acquire(0) = AcquireOf("gpu", v1::SCOPE_SERVER);
  *spec.mutable_root()->mutable_acquire(0) = AcquireOf("own", v1::SCOPE_JOB);
  EXPECT_THAT(Violations(spec), testing::HasSubstr("'gpu' is declared before 'own'"));
}

TEST(CompileTest, NodesAreFoundByTheirPaths) {
  const auto job = CompileText(
      "name: x\n"
      "nodes:\n"
      "  - {name: a, nodes: [{name: b, sleep: 1s}]}\n"
      "  - {name: d, map: {items: [1], node: {nodes: [{name: e, call: noop}]}}}\n");
  for (const auto& [path, found] : {std::pair{"", ""},
                                    {"a", "a"},
                                    {"a/b", "a/b"},
                                    {"d", "d"},
                                    {"d[0]", "d[]"},
                                    {"d[a%2Fb]/e", "d[]/e"}}) {
    ASSERT_NE(job->Find(path), kNoNode) << path;
    EXPECT_EQ(job->PathOf(job->Find(path)), found);
  }
  for (const char* path : {"b", "a/", "a//b", "/a", "a[0]", "d[0", "d/e", "d[0]e/f", "a/b/c"}) {
    EXPECT_EQ(job->Find(path), kNoNode) << path;
  }
}

TEST(CompileTest, TheServerBoundsTheTimeOfAJob) {
  v1::JobSpec spec = Minimal();
  CompileOptions options;
  options.max_job_timeout = 1h;
  EXPECT_EQ(Violations(spec, options), "");
  spec.mutable_timeout()->mutable_duration()->set_seconds(3600);
  EXPECT_EQ(Violations(spec, options), "");
  spec.mutable_timeout()->mutable_duration()->set_seconds(3601);
  EXPECT_EQ(Violations(spec, options), "timeout: 1h1s is over the server's limit of 1h\n");
  spec.mutable_timeout()->set_none(true);
  EXPECT_EQ(Violations(spec, options), "timeout: none is over the server's limit of 1h\n");
}

TEST(CompileTest, OutputOfANeedOfAnAncestorIsSeen) {
  const auto job = CompileText(
      "name: x\nnodes:\n  - {name: v1.2, exec: {argv: [date]}}\n"
      "  - name: all\n    needs: [v1.2]\n"
      "    map: {items: [1], node: {exec: {argv: [echo, '${{ output.v1.2.tag }}']}}}\n");
  const auto& exec = std::get<Exec>(*Find(*job, "all[]").action);
  const Expression& expression = *exec.argv[1].Pieces()[0].expression;
  EXPECT_EQ(expression.source, Expression::Source::kOutput);
  EXPECT_EQ(expression.subject, Find(*job, "v1.2").index);
  EXPECT_THAT(expression.fields, testing::ElementsAre("tag"));
}

TEST(CompileTest, EmptyMessageIsRefusedWithPathsOfTheContract) {
  EXPECT_EQ(Violations(v1::JobSpec()),
            "name: is required\n"
            "root: nothing to run: give one of exec, sleep, call, map or group (nodes)\n");
}

TEST(CompileTest, SpecBytesAreBounded) {
  CompileOptions options;
  options.limits.spec_bytes = 10;
  EXPECT_EQ(Violations(Minimal(), options), "is 13 bytes, over the limit of 10\n");
}

v1::JobSpec WithLimits() {
  v1::JobSpec spec = Minimal();
  v1::ExecAction& exec = *spec.mutable_root()->mutable_exec();
  exec.add_argv("true");
  exec.mutable_limits()->set_memory(1 << 20);
  exec.mutable_limits()->set_pids(10);
  exec.mutable_limits()->set_cpu_weight(10'000);
  return spec;
}

TEST(CompileTest, LimitsThatDoNotHoldAreWarnedOfAndKept) {
  CompileOptions options;
  options.not_enforced = [] {
    return LimitReasons{{"memory", "not here"}, {"cpu_weight", "nor here"}};
  };
  const CompileResult result = Compile(WithLimits(), options);
  ASSERT_NE(result.job, nullptr);
  ASSERT_EQ(result.warnings.size(), 2u);
  EXPECT_EQ(result.warnings[0].path, "root.exec.limits.memory");
  EXPECT_EQ(result.warnings[1].message, "nor here");
  EXPECT_EQ(result.job->limits_not_enforced,
            (std::vector<std::string>{"root.exec.limits.memory: not here",
                                      "root.exec.limits.cpu_weight: nor here"}));
  EXPECT_TRUE(result.job->has_tree_limits);
  const auto& exec = std::get<Exec>(*result.job->node(0).action);
  EXPECT_EQ(exec.options->limits->memory, 1u << 20);
  EXPECT_EQ(exec.options->limits->pids, 10u);
  EXPECT_EQ(exec.options->limits->cpu_weight, 10'000u);
  EXPECT_TRUE(Compile(WithLimits(), CompileOptions()).warnings.empty()) << "not known here";
}

TEST(CompileTest, OfAJobWithManyOnlySomeLimitsAreNamed) {
  CompileOptions options;
  options.not_enforced = [] { return LimitReasons{{"pids", "not here"}}; };
  v1::JobSpec spec = Minimal();
  for (size_t i = 0; i < 2 * kMaxToldLimits; ++i) {
    v1::NodeSpec& node = *spec.mutable_root()->mutable_group()->add_nodes();
    *node.mutable_exec() = WithLimits().root().exec();
    node.set_name("n" + std::to_string(i));
  }
  const CompileResult result = Compile(spec, options);
  ASSERT_NE(result.job, nullptr);
  EXPECT_EQ(result.job->limits_not_enforced.size(), kMaxToldLimits);
}

TEST(CompileTest, LimitsAreBounded) {
  v1::JobSpec spec = WithLimits();
  spec.mutable_root()->mutable_exec()->mutable_limits()->set_memory(-1);
  spec.mutable_root()->mutable_exec()->mutable_limits()->set_pids(1 << 23);
  spec.mutable_root()->mutable_exec()->mutable_limits()->set_cpu_weight(10'001);
  EXPECT_EQ(Violations(spec),
            "root.exec.limits.memory: -1 must be between 1 and 1125899906842624\n"
            "root.exec.limits.pids: 8388608 must be between 1 and 4194304\n"
            "root.exec.limits.cpu_weight: 10001 must be between 1 and 10000\n");
}

TEST(CompileTest, AUserHasToBeAllowedWhereThatIsKnown) {
  v1::JobSpec spec = Minimal();
  spec.mutable_root()->mutable_exec()->add_argv("true");
  spec.mutable_root()->mutable_exec()->set_user("build");
  CompileOptions options;
  EXPECT_EQ(Violations(spec, options), "");
  options.users = {"ci", "build"};
  EXPECT_EQ(Violations(spec, options), "");
  options.users = {"ci", "test"};
  EXPECT_EQ(Violations(spec, options),
            "root.exec.user: 'build' is not among exec.users of the server's configuration: "
            "ci, test\n");
  options.users.emplace();
  EXPECT_EQ(Violations(spec, options),
            "root.exec.user: 'build' is not among exec.users of the server's configuration, "
            "which has none\n");
}

TEST(CompileTest, NodesAreBounded) {
  CompileOptions options;
  options.limits.nodes_per_job = 3;
  v1::JobSpec spec;
  spec.set_name("x");
  for (int i = 0; i < 3; ++i) {
    v1::NodeSpec& node = *spec.mutable_root()->mutable_group()->add_nodes();
    node.set_name("n" + std::to_string(i));
    node.mutable_call()->set_function("noop");
  }
  EXPECT_EQ(Violations(spec, options),
            "root: has 4 nodes, over the limit of 3; a map makes nodes only as its items run\n");
}

TEST(CompileTest, ItemListMustAddUp) {
  v1::JobSpec spec = Minimal();
  v1::MapSpec& map = *spec.mutable_root()->mutable_map();
  map.mutable_node()->mutable_call()->set_function("noop");
  map.mutable_items()->mutable_list()->set_data("abc");
  map.mutable_items()->mutable_list()->add_sizes(0xffffffff);
  EXPECT_EQ(Violations(spec),
            "root.map.items.list.sizes: add up to 4294967295 bytes, but data has 3\n");
  map.mutable_items()->mutable_list()->set_sizes(0, 3);
  EXPECT_EQ(Violations(spec), "");
  map.mutable_items()->mutable_list()->set_format(v1::ITEM_FORMAT_JSON);
  EXPECT_EQ(Violations(spec), "root.map.items.list.data: item 0 is not one JSON value\n");
}

TEST(CompileTest, TimesOutOfRangeAreRefused) {
  v1::JobSpec spec = Minimal();
  spec.mutable_timeout()->mutable_duration()->set_seconds(INT64_MIN);
  spec.mutable_root()->mutable_grace()->set_seconds(INT64_MAX);
  spec.mutable_root()->mutable_deadline()->set_seconds(-1);
  spec.mutable_root()->mutable_attempt_timeout();
  EXPECT_EQ(Violations(spec),
            "timeout: must be more than 0\n"
            "root.grace: must be between 0s and 87600h\n"
            "root.deadline: must be between 1970 and 2255\n"
            "root.attempt_timeout: must be a duration or none\n");
}

TEST(CompileTest, NulBytesAreRefused) {
  v1::JobSpec spec = Minimal();
  spec.mutable_root()->mutable_exec()->add_argv(std::string("a\0b", 3));
  EXPECT_EQ(Violations(spec), "root.exec.argv[0]: must not hold a NUL byte\n");
}

TEST(CompileTest, RangesAtTheEndsOfTheNumbersDoNotOverflow) {
  v1::JobSpec spec = Minimal();
  v1::MapSpec& map = *spec.mutable_root()->mutable_map();
  map.mutable_node()->mutable_call()->set_function("noop");
  v1::RangeItems& range = *map.mutable_items()->mutable_range();
  range.set_from(INT64_MIN);
  range.set_to(INT64_MAX);
  EXPECT_EQ(Violations(spec),
            "root.map.items.range: gives more items than the limit of 10000000\n");
  range.set_step(INT64_MAX);
  const CompileResult result = Compile(spec, {});
  ASSERT_NE(result.job, nullptr);
  const auto& items = std::get<ItemSet>(result.job->node(0).map->items);
  EXPECT_EQ(items.size(), 3);
  EXPECT_EQ(items.At(2).Text(), std::to_string(INT64_MAX - 1));
}

}  // namespace
}  // namespace nursery::spec
