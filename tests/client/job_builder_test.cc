// A tree that is built is the same as the job file of that tree.
#include "nursery/client/job_builder.h"

#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/src/messages.h"
#include "nursery/core/status.h"
#include "server/spec/load.h"

namespace nursery::client {
namespace {

using google::protobuf::util::MessageDifferencer;
using namespace std::chrono_literals;

// The loader's notes of where things stand in the file.
void ForgetPlaces(google::protobuf::Message* message) {
  if (auto* limit = google::protobuf::DynamicCastToGenerated<v1::TimeLimit>(message)) {
    limit->clear_line();
    limit->clear_column();
  }
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() == nullptr) continue;
    if (!field->is_repeated()) {
      ForgetPlaces(reflection.MutableMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
      ForgetPlaces(reflection.MutableRepeatedMessage(message, field, i));
    }
  }
}

// Empty if both are the same job.
std::string Difference(const Job& job, const std::string& file) {
  const std::string directory = testing::TempDir();
  const spec::LoadedJob loaded = spec::LoadJobText(file, "", directory, spec::LoadOptions());
  if (loaded.job == nullptr) return spec::Describe("the file", loaded);
  v1::JobSpec expected = *loaded.spec;
  ForgetPlaces(&expected);
  const absl::StatusOr<v1::JobSpec> built = internal::SpecOf(job);
  if (!built.ok()) return built.status().ToString();
  std::string difference;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  return differencer.Compare(expected, *built) ? "" : difference;
}

TEST(JobBuilderTest, AGroupOfProgramsIsThatOfTheFile) {
  Job job("nightly");
  job.Timeout(10min)
      .Workdir("/tmp")
      .Label("team", "red")
      .Priority(7)
      .Root(
          Group()
              .Limit(8)
              .Join(Join::Collect())
              .Add(Exec("fetch", {"make", "-j2"}).Timeout(30s).Env("MODE", "full").Cwd("src"))
              .Add(Exec("report", {"./report"}).Needs({"fetch"}).When(When::kAlways).AllowFailure())
              .Add(Sleep("pause", 250ms))
              .Add(Call("nothing", "noop")));
  EXPECT_EQ(Difference(job, R"(
name: nightly
timeout: 10m
workdir: /tmp
labels: {team: red}
priority: 7
limit: 8
join: collect
nodes:
  - {name: fetch, exec: {argv: [make, -j2], env: {MODE: full}, cwd: src}, timeout: 30s}
  - {name: report, exec: {argv: [./report]}, needs: [fetch], when: always, allow_failure: true}
  - {name: pause, sleep: 250ms}
  - {name: nothing, call: noop}
)"),
            "");
}

TEST(JobBuilderTest, ADifferentTreeIsToldApart) {
  EXPECT_NE(Difference(Job("x").Root(Sleep("", 1s)), "name: x\nsleep: 2s\n"), "");
  EXPECT_NE(Difference(Job("x").Root(Group().Add(Sleep("a", 1s))), "name: x\nsleep: 1s\n"), "");
}

TEST(JobBuilderTest, WhatEveryNodeMaySayIsThatOfTheFile) {
  using google::protobuf::util::TimeUtil;
  const WallTime start = std::chrono::system_clock::from_time_t(1893477600);
  Retry retry(4);
  retry.initial = 2s;
  retry.max = 1min;
  retry.multiplier = 3;
  retry.jitter = 0.5;
  retry.exit_codes = {7, 75};
  Job job("fields");
  job.NoTimeout()
      .Semaphore("db", 5)
      .SemaphoreUnits("gpu", {"0", "1"})
      .Root(Group()
                .Add(Exec("load", {"./load"})
                         .Acquire("db", 2)
                         .Acquire("gpu")
                         .Pool("wide")
                         .Priority(9)
                         .QueueTimeout(1h)
                         .AttemptTimeout(5min)
                         .IdleTimeout(20s)
                         .Grace(0s)
                         .Retry(retry)
                         .MaxInterruptions(0)
                         .NotBefore(start)
                         .Deadline(start + 1h)
                         .Finally(Exec("", {"./unlock"}).Timeout(10s)))
                .Add(Exec("long", {"./long"})
                         .NoTimeout()
                         .NoAttemptTimeout()
                         .Finally(Call("", "noop"))));
  EXPECT_EQ(Difference(job, R"(
name: fields
timeout: none
semaphores: [{name: db, size: 5}, {name: gpu, units: ["0", "1"]}]
nodes:
  - name: load
    exec: {argv: [./load]}
    acquire: [{semaphore: db, weight: 2}, {semaphore: gpu, weight: 1}]
    pool: wide
    priority: 9
    queue_timeout: 1h
    attempt_timeout: 5m
    idle_timeout: 20s
    grace: 0s
    retry:
      max_attempts: 4
      backoff: {initial: 2s, max: 1m, multiplier: 3, jitter: 50%}
      exit_codes: [7, 75]
    max_interruptions: 0
    not_before: 2030-01-01T06:00:00Z
    deadline: 2030-01-01T07:00:00Z
    finally: {exec: {argv: [./unlock]}, timeout: 10s}
  - name: long
    exec: {argv: [./long]}
    timeout: none
    attempt_timeout: none
    finally: {call: noop}
)"),
            "");
}

TEST(JobBuilderTest, WhatAnExecMaySayIsThatOfTheFile) {
  ExecLimits limits;
  limits.memory = 64 << 20;
  limits.pids = 100;
  limits.cpu_weight = 50;
  limits.open_files = 64;
  limits.file_size = 1 << 20;
  limits.address_space = int64_t{1} << 30;
  limits.cpu_time = 90s;
  limits.core = true;
  limits.nice = 5;
  Job job("execs");
  job.Root(Group()
               .Add(Exec("a", {"cat"}).StdinText("hello").MaxOutput(1 << 20).MergeOutput())
               .Add(Exec("b", {"cat"}).StdinFile("in.txt").JsonOutput().Limits(limits))
               .Add(Exec("c", {"cat"}).StdinOutputOf("a").User("nobody").Needs({"a"})));
  EXPECT_EQ(Difference(job, R"(
name: execs
nodes:
  - {name: a, exec: {argv: [cat], stdin: {text: hello}, output: {max: 1MiB, merge: true}}}
  - name: b
    exec:
      argv: [cat]
      stdin: {file: in.txt}
      output: {json: true}
      limits: {memory: 64MiB, pids: 100, cpu_weight: 50, open_files: 64, file_size: 1MiB,
               address_space: 1GiB, cpu_time: 90s, core: true, nice: 5}
  - {name: c, exec: {argv: [cat], stdin: {output_of: a}, user: nobody}, needs: [a]}
)"),
            "");
}

TEST(JobBuilderTest, MapsAreThoseOfTheFile) {
  const std::string lines = testing::TempDir() + "/job_builder_lines";
  std::ofstream(lines) << "one\n\nthree";
  const absl::StatusOr<Items> of_file = Items::FileLines(lines);
  ASSERT_TRUE(of_file.ok()) << of_file.status().ToString();
  const Exec echo("", {"echo", "${{ item }}"});
  Items matrix = Items::Matrix({{"os", {"a", "b"}}, {"cc", {"gcc", "clang"}}});
  matrix.Exclude({{"os", "b"}, {"cc", "gcc"}});
  Job job("maps");
  job.Root(
      Group()
          .Add(Map("list", Items::List({"x", "1.10"}), echo).Workers(4))
          .Add(Map("json", Items::JsonList({R"({"a":1})"}), Exec("", {"echo", "${{ row.a }}"}))
                   .As("row"))
          .Add(Map("lines", *of_file, echo).Join(Join::Any()))
          .Add(Map("range", Items::Range(0, 9, 2), echo).Join(Join::Quorum(2)))
          .Add(Map("matrix", matrix, Exec("", {"true"})).Key("${{ item.cc }}"))
          .Add(Map("output", Items::OutputOf("list"), echo).Needs({"list"}).MaxFailuresPercent(5)));
  EXPECT_EQ(Difference(job, R"(
name: maps
nodes:
  - name: list
    map: {items: [x, 1.10], workers: 4, node: &echo {exec: {argv: [echo, "${{ item }}"]}}}
  - {name: json, map: {items: [{a: 1}], as: row, node: {exec: {argv: [echo, "${{ row.a }}"]}}}}
  - {name: lines, map: {items: {file: job_builder_lines}, join: any, node: *echo}}
  - {name: range, map: {items: {range: {from: 0, to: 9, step: 2}}, join: {quorum: 2}, node: *echo}}
  - name: matrix
    map:
      items: {matrix: {os: [a, b], cc: [gcc, clang]}, exclude: [{os: b, cc: gcc}]}
      key: "${{ item.cc }}"
      node: {exec: {argv: ["true"]}}
  - name: output
    needs: [list]
    map: {items: {output_of: list}, join: {max_failures: 5%}, node: *echo}
)"),
            "");
  std::filesystem::remove(lines);
}

TEST(JobBuilderTest, DefaultsAreThoseOfTheFile) {
  Defaults defaults;
  defaults.timeout = 2min;
  defaults.attempt_timeout = 30s;
  defaults.retry = Retry(3);
  defaults.retry->initial = 100ms;
  defaults.env["A"] = "1";
  defaults.pool = "io";
  defaults.cwd = "/tmp";
  defaults.grace = 2s;
  EXPECT_EQ(Difference(Job("x").Defaults(defaults).Root(Group().Add(Exec("a", {"true"}))), R"(
name: x
defaults:
  timeout: 2m
  attempt_timeout: 30s
  retry: {max_attempts: 3, backoff: {initial: 100ms}}
  env: {A: "1"}
  pool: io
  cwd: /tmp
  grace: 2s
nodes:
  - {name: a, exec: {argv: ["true"]}}
)"),
            "");
}

TEST(JobBuilderTest, ParametersAreThoseOfTheFile) {
  Job job("params");
  job.Param("mode", "full")
      .Root(Group().Join(Join::MaxFailures(1)).Add(Exec("a", {"echo", "${{ param.mode }}"})));
  EXPECT_EQ(Difference(job, R"(
name: params
params: {mode: {default: full}}
join: {max_failures: 1}
nodes: [{name: a, exec: {argv: [echo, "${{ param.mode }}"]}}]
)"),
            "");
  job.Param("date", std::nullopt).Argument("date", "today");
  const v1::JobSpec spec = *internal::SpecOf(job);
  EXPECT_TRUE(spec.params().at("date").required());
  EXPECT_EQ(spec.arguments().at("date"), "today");
}

TEST(JobBuilderTest, NodesAreValues) {
  Group group;
  const Exec leaf("a", {"true"});
  group.Add(leaf);
  Group copy = group;
  copy.Add(Exec("b", {"true"}));
  EXPECT_EQ(internal::SpecOf(Job("x").Root(group))->root().group().nodes_size(), 1);
  EXPECT_EQ(internal::SpecOf(Job("x").Root(copy))->root().group().nodes_size(), 2);
  const Items all = Items::Matrix({{"os", {"a", "b"}}});
  Items some = all;
  some.Exclude({{"os", "a"}});
  EXPECT_EQ(all.message().items.matrix().exclude_size(), 0);
  EXPECT_EQ(some.message().items.matrix().exclude_size(), 1);
}

TEST(JobBuilderTest, AFinallyThatSaysMoreThanItMayIsRefused) {
  const auto status_of = [](const Node& action) {
    const Exec node = Exec("a", {"true"}).Finally(action);
    return internal::SpecOf(Job("x").Root(Group().Add(Map("m", Items::List({}), node)))).status();
  };
  EXPECT_TRUE(status_of(Exec("", {"true"}).Timeout(1s)).ok());
  for (const Node& action :
       {Node(Exec("named", {"true"})), Node(Exec("", {"true"}).Retry(Retry(2))), Node(Group()),
        Node(Sleep("", 1s).NoTimeout())}) {
    const absl::Status status = status_of(action);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), testing::HasSubstr("the finally of 'a'"));
  }
}

TEST(JobBuilderTest, AFileThatIsNotThereIsAnError) {
  const absl::Status status = Items::FileLines("/no/such/file").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace nursery::client
