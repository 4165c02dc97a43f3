#include "client/cli/render.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "client/cli/text.h"

namespace nursery::cli {
namespace {

using testing::HasSubstr;

template <class Message>
Message Parsed(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

TEST(RenderErrorsTest, FailureHasItsStderrIndented) {
  const auto job = Parsed<v1::Job>(R"pb(
    state: NODE_STATE_FAILED
    error_count: 1
    errors {
      path: "matrix[gcc-debug]"
      attempt: 2
      state: NODE_STATE_FAILED
      status { code: 2 message: "exit code 2 (attempt 2 of 2)" }
      stderr_tail: "src/main.cc:14:9: error: 'foo'\nmake: *** [main.o] Error 1\n"
    })pb");
  EXPECT_EQ(RenderErrors(job),
            "error: matrix[gcc-debug]: exit code 2 (attempt 2 of 2)\n"
            "    | src/main.cc:14:9: error: 'foo'\n"
            "    | make: *** [main.o] Error 1\n");
}

TEST(RenderErrorsTest, ThreeAreToldInFullTheRestCounted) {
  v1::Job job = Parsed<v1::Job>("state: NODE_STATE_FAILED error_count: 1204");
  for (int i = 0; i < 64; ++i) {
    job.add_errors()->set_path("n" + std::to_string(i));
    job.mutable_errors(i)->mutable_status()->set_message("exit code 1");
  }
  EXPECT_EQ(RenderErrors(job),
            "error: n0: exit code 1\nerror: n1: exit code 1\nerror: n2: exit code 1\n"
            "and 1,201 more errors\n");
}

TEST(RenderErrorsTest, WhatMayFailIsNoErrorOfTheJob) {
  const auto job = Parsed<v1::Job>(R"pb(
    state: NODE_STATE_FAILED
    error_count: 2
    errors {
      path: "lint"
      status { message: "exit code 1" }
      tolerated: true
    }
    errors {
      path: "build"
      status { message: "exit code 2" }
    })pb");
  EXPECT_EQ(RenderErrors(job), "error: build: exit code 2\n");
}

TEST(RenderErrorsTest, DeadlineSaysWhereTheTimeWentAndWhatStillRan) {
  const auto job = Parsed<v1::Job>(R"pb(
    display_name: "report"
    state: NODE_STATE_DEADLINE_EXCEEDED
    error_count: 1
    errors {
      state: NODE_STATE_DEADLINE_EXCEEDED
      status { message: "deadline exceeded (job timeout 10m, set in report.yaml:2)" }
      still_running { path: "render" pid: 4711 }
      still_running { path: "wait" }
    }
    create_time { seconds: 1000 }
    deadline { seconds: 1600 }
    time_spent {
      queued { seconds: 61 }
      waited { seconds: 132 }
      ran { seconds: 407 }
      waited_for: "db"
    })pb");
  EXPECT_EQ(RenderErrors(job),
            "error: report: deadline exceeded (job timeout 10m, set in report.yaml:2)\n"
            "  of 10m 0s: queued 1m 1s, waited 2m 12s for semaphore db, ran 6m 47s\n"
            "  still running when it passed: render (pid 4711), wait\n");
}

TEST(RenderErrorsTest, SuccessHasNoneAndACancelIsTheError) {
  EXPECT_EQ(RenderErrors(Parsed<v1::Job>(R"pb(state: NODE_STATE_SUCCEEDED
                                              errors {})pb")),
            "");
  EXPECT_EQ(RenderErrors(Parsed<v1::Job>(R"pb(
              display_name: "nightly"
              state: NODE_STATE_CANCELLED
              cause { reason: "Ctrl-C" })pb")),
            "error: nightly: Ctrl-C\n");
}

constexpr char kReceipt[] = R"pb(
  job: "jobs/01JD9K3M5XW000000000000000"
  complete: true
  cause {
    reason: "wrong input"
    time { seconds: 10 }
  }
  admission_close_time { seconds: 10 nanos: 400000 }
  skipped: 81
  interrupted: 12
  terminated: 31
  killed: 3
  containment: CONTAINMENT_CGROUP
  duration { seconds: 1 nanos: 280000000 })pb";

TEST(RenderReceiptTest, CompleteOneSaysWhatItEnded) {
  EXPECT_EQ(RenderReceipt(Parsed<v1::CancelReceipt>(kReceipt), "nightly"),
            "cancelled 01JD9K3M5XW000000000000000 (nightly) in 1.28s: wrong input\n"
            "  admission closed   after 0.4ms\n"
            "  nodes              81 skipped, 12 interrupted\n"
            "  processes          31 ended by SIGTERM, 3 by SIGKILL, 0 left"
            "    (containment: cgroup)\n");
}

TEST(RenderReceiptTest, CleanUpsAreToldWhereThereAreAny) {
  auto receipt = Parsed<v1::CancelReceipt>(kReceipt);
  receipt.set_cleanups_run(2);
  receipt.set_path("build/test");
  const std::string text = RenderReceipt(receipt, "nightly");
  EXPECT_THAT(text,
              HasSubstr("cancelled 01JD9K3M5XW000000000000000 (nightly) build/test in 1.28s"));
  EXPECT_THAT(text, HasSubstr("\n  clean-up           2 run, 0 left out\n"));
}

TEST(RenderReceiptTest, SurvivorsAreNamed) {
  EXPECT_EQ(RenderReceipt(Parsed<v1::CancelReceipt>(R"pb(
                            job: "jobs/01JD9K3M5XW000000000000000"
                            survivor_count: 1
                            duration { seconds: 6 nanos: 500000000 }
                            survivors {
                              pid: 4711
                              command: "tar xf /mnt/nfs/a.tar"
                              path: "unpack"
                              state: "D (disk sleep)"
                            })pb"),
                          "nightly"),
            "not complete: 1 process is still alive after 6.50s\n"
            "  pid 4711  tar xf /mnt/nfs/a.tar   node unpack   state D (disk sleep)\n"
            "  their slots and permits stay taken until they are gone\n");
}

TEST(RenderReceiptTest, WhatTheLevelGroupDoesNotReachIsTold) {
  auto receipt = Parsed<v1::CancelReceipt>(
      "survivor_count: 1200 containment: CONTAINMENT_GROUP survivors { pid: 7 command: 'd' }");
  EXPECT_EQ(RenderReceipt(receipt, "nightly"),
            "not complete: 1,200 processes are still alive after 0.0ms\n"
            "  pid 7  d   node    state \n"
            "  and 1,199 more\n"
            "  those that have left their session are out of reach of containment group;\n"
            "  the slots and permits of others stay taken until they are gone\n");
}

TEST(RenderLeftTest, NamesWhatIsAliveUnlessTheReceiptDoes) {
  v1::Job job;
  EXPECT_EQ(RenderLeft(job), "");
  job.set_survivor_count(2);
  v1::Survivor& survivor = *job.add_survivors();
  survivor.set_pid(4711);
  survivor.set_command("daemon");
  survivor.set_path("serve");
  survivor.set_state("S (sleeping)");
  EXPECT_EQ(RenderLeft(job),
            "2 processes are left alive, out of reach of containment group:\n"
            "  pid 4711  daemon   node serve   state S (sleeping)\n"
            "  and 1 more\n");
  job.mutable_last_cancel()->set_survivor_count(2);
  EXPECT_EQ(RenderLeft(job), "");
  // One of a branch tells only what that has left.
  job.mutable_last_cancel()->set_path("build");
  EXPECT_NE(RenderLeft(job), "");
}

TEST(RenderReceiptTest, EndedAndUnfinishedCancelsSaySo) {
  EXPECT_EQ(
      RenderReceipt(Parsed<v1::CancelReceipt>("job: \"jobs/01JD9K3M5XW\" already_ended: true"),
                    "nightly"),
      "01JD9K3M5XW (nightly) had ended before\n");
  EXPECT_EQ(RenderReceipt(Parsed<v1::CancelReceipt>(
                              "job: \"jobs/1\" already_ended: true survivor_count: 1 "
                              "survivors { pid: 7 command: 'd' path: 'serve' state: 'S' }"),
                          "nightly"),
            "1 (nightly) had ended before\n"
            "1 process is left alive, out of reach of containment group:\n"
            "  pid 7  d   node serve   state S\n");
  EXPECT_EQ(RenderReceipt(Parsed<v1::CancelReceipt>("job: \"jobs/01JD9K3M5XW\""), "nightly"),
            "cancelling 01JD9K3M5XW (nightly): not complete yet\n");
}

v1::Event Attempt(const std::string& path, const std::string& output) {
  v1::Event event;
  event.mutable_attempt_ended()->set_path(path);
  event.mutable_attempt_ended()->mutable_attempt()->mutable_stdout()->set_inline_data(output);
  return event;
}

v1::Event Ended(const std::string& path, v1::NodeState state) {
  v1::Event event;
  event.mutable_node_ended()->set_path(path);
  event.mutable_node_ended()->set_state(state);
  event.mutable_node_ended()->mutable_elapsed()->set_nanos(310'000'000);
  return event;
}

TEST(EventLinesTest, OneLineOfOutputIsTheNote) {
  EventLines lines;
  EXPECT_EQ(lines.Add(Attempt("total", "106,212 words in 14 texts\n")), "");
  EXPECT_EQ(lines.Add(Ended("total", v1::NODE_STATE_SUCCEEDED)),
            "total     SUCCEEDED  0.31s  106,212 words in 14 texts");
  EXPECT_EQ(lines.Add(Attempt("list", "a\nb\n")), "");
  EXPECT_EQ(lines.Add(Ended("list", v1::NODE_STATE_SUCCEEDED)), "list      SUCCEEDED  0.31s");
}

TEST(EventLinesTest, ItemsThatWereCutShortAreCountedInTheirMap) {
  EventLines lines;
  EXPECT_EQ(lines.Add(Ended("matrix[1]", v1::NODE_STATE_CANCELLED)), "");
  v1::Event map = Ended("matrix", v1::NODE_STATE_FAILED);
  map.mutable_node_ended()->mutable_items()->set_succeeded(2);
  map.mutable_node_ended()->mutable_items()->set_failed(1);
  map.mutable_node_ended()->mutable_items()->set_cancelled(1);
  EXPECT_EQ(lines.Add(map), "matrix    FAILED     0.31s  3 of 4 items, 1 failed");
}

TEST(EventLinesTest, WhoWasCutShortSaysByWhat) {
  EventLines lines;
  v1::Event event = Ended("server", v1::NODE_STATE_CANCELLED);
  v1::Cause& cause = *event.mutable_node_ended()->mutable_cause();
  cause.set_kind(v1::CAUSE_KIND_SIBLING_FAILED);
  cause.set_reason("exit code 2");
  EXPECT_EQ(lines.Add(event), "server    CANCELLED  0.31s  sibling failed");
  cause.set_kind(v1::CAUSE_KIND_CANCELLED);
  cause.set_reason("wrong input");
  EXPECT_EQ(lines.Add(event), "server    CANCELLED  0.31s  wrong input");
}

TEST(EventLinesTest, NeverStartedHasNoTime) {
  EventLines lines;
  v1::Event event = Ended("package", v1::NODE_STATE_SKIPPED);
  event.mutable_node_ended()->clear_elapsed();
  event.mutable_node_ended()->mutable_cause()->set_reason("needs matrix");
  EXPECT_EQ(lines.Add(event), "package   SKIPPED           needs matrix");
}

std::vector<engine::NodeView> Nodes(size_t children) {
  std::vector<engine::NodeView> nodes(1 + children);
  nodes[0].name = "big";
  nodes[0].kind = spec::Kind::kGroup;
  nodes[0].state = engine::NodeState::kRunning;
  for (size_t i = 1; i < nodes.size(); ++i) {
    nodes[i].name = "n" + std::to_string(i);
    nodes[i].depth = 1;
    nodes[i].action = "exec";
    nodes[i].state = engine::NodeState::kRunning;
  }
  return nodes;
}

TEST(RenderTreeTest, NoPictureIsHigherOrWiderThanItsTerminal) {
  v1::Job job;
  for (size_t width : {1u, 5u, 20u, 40u, 59u, 60u, 80u, 300u}) {
    for (size_t height : {1u, 2u, 10u, 24u}) {
      RenderOptions options;
      options.width = width;
      options.height = height;
      const auto lines = RenderTree(Nodes(50), job, options);
      EXPECT_LE(lines.size(), height);
      for (const std::string& line : lines) EXPECT_LE(Columns(line), width) << line;
    }
  }
}

TEST(RenderTreeTest, NothingToShowIsNoPicture) {
  EXPECT_TRUE(RenderTree({}, v1::Job(), RenderOptions()).empty());
}

}  // namespace
}  // namespace nursery::cli
