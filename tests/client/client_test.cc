// Client against a real server on a unix socket.
#include "nursery/client/client.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <thread>

#include "nursery/client/error.h"
#include "nursery/core/status.h"
#include "tests/client/server_process.h"

namespace nursery::client {
namespace {

using testing::HasSubstr;

// Far longer than anything takes; only a hang comes near it.
const CallOptions kPatience{std::chrono::minutes(1)};

std::unique_ptr<Client> ConnectTo(const std::string& address) {
  ConnectOptions options;
  options.address = address;
  options.timeout = std::chrono::minutes(1);
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options);
  if (!client.ok()) throw std::runtime_error(client.status().ToString());
  return *std::move(client);
}

class ClientTest : public testing::Test {
 protected:
  std::string SubmitTo(const Job& job) {
    const absl::StatusOr<JobInfo> submitted = client_->Submit(job, {}, kPatience);
    EXPECT_TRUE(submitted.ok()) << submitted.status().ToString();
    return submitted.ok() ? submitted->name : "";
  }

  // Programs n0, n1, ... that run until they are ended.
  Job Blocked(int count) {
    Group group;
    for (int i = 0; i < count; ++i) {
      const std::string name = "n" + std::to_string(i);
      group.Add(Exec(name, {"sh", "-c", "echo > \"$0\"; exec sleep 600", MarkOf(name)}));
    }
    return Job("blocked").Root(group);
  }
  std::string MarkOf(const std::string& name) {
    return (server_.directory() / ("up-" + name)).string();
  }
  // Until `count` of them run.
  void WaitForPrograms(int count) {
    for (int i = 0; i < count; ++i) {
      while (!std::filesystem::exists(MarkOf("n" + std::to_string(i)))) sched_yield();
    }
  }

  std::vector<int64_t> SeqsAfter(const std::string& job, int64_t after) {
    std::vector<int64_t> seqs;
    WatchOptions options;
    options.after_seq = after;
    Handlers handlers;
    handlers.on_event = [&](const Event& event) { seqs.push_back(event.seq); };
    const absl::Status watched = client_->Watch(job, options, handlers, kPatience);
    EXPECT_TRUE(watched.ok()) << watched.ToString();
    return seqs;
  }

  ServerProcess server_;
  std::unique_ptr<Client> client_ = ConnectTo(server_.address());
};

TEST_F(ClientTest, ARunTellsItsEventsAndItsResult) {
  std::string started;
  std::vector<std::string> ended;
  Handlers handlers;
  handlers.on_started = [&](const std::string& job) { started = job; };
  handlers.on_event = [&](const Event& event) {
    if (event.kind != "node_ended" || event.path.empty()) return;
    ended.push_back(event.path + " " + std::string(StateName(event.state)));
  };
  const Job job =
      Job("hello")
          .Label("team", "red")
          .Root(Group()
                    .Add(Exec("one", {"echo", "hello"}))
                    .Add(Exec("two", {"echo", "${{ output.one }} again"}).Needs({"one"})));
  const absl::StatusOr<JobInfo> result = client_->Run(job, {}, handlers, kPatience);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->state, State::kSucceeded);
  EXPECT_TRUE(result->done);
  EXPECT_EQ(result->output, "hello again\n");
  EXPECT_EQ(result->display_name, "hello");
  EXPECT_EQ(result->labels.at("team"), "red");
  EXPECT_EQ(result->name, started);
  EXPECT_EQ(ended, (std::vector<std::string>{"one SUCCEEDED", "two SUCCEEDED"}));
  EXPECT_GE(*result->end_time, *result->start_time);
}

TEST_F(ClientTest, ARunTellsWhatItsNodesWrite) {
  std::string text;
  Handlers handlers;
  handlers.on_output = [&](const OutputChunk& chunk) { text += chunk.path + ": " + chunk.data; };
  const Job job = Job("hello").Root(Group().Add(Exec("one", {"echo", "hello"})));
  ASSERT_TRUE(client_->Run(job, {}, handlers, kPatience).ok());
  EXPECT_EQ(text, "one: hello\n");
}

TEST_F(ClientTest, AFailedJobIsNoErrorOfItsCall) {
  std::optional<int> exit_code;
  Handlers handlers;
  handlers.on_event = [&](const Event& event) {
    if (event.kind == "attempt_ended") exit_code = event.exit_code;
  };
  const Job job = Job("bad").Root(Group().Add(Exec("a", {"sh", "-c", "echo no luck >&2; exit 3"})));
  const absl::StatusOr<JobInfo> result = client_->Run(job, {}, handlers, kPatience);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->state, State::kFailed);
  ASSERT_EQ(result->errors.size(), 1u);
  EXPECT_EQ(result->errors[0].path, "a");
  EXPECT_THAT(result->errors[0].message, HasSubstr("exit code 3"));
  EXPECT_EQ(result->errors[0].stderr_tail, "no luck");
  EXPECT_EQ(exit_code, 3);
}

TEST_F(ClientTest, ASubmittedJobIsWaitedForAndListed) {
  const std::string first = SubmitTo(Job("first").Root(Exec("", {"true"})));
  const std::string second = SubmitTo(Job("second").Root(Exec("", {"false"})));
  EXPECT_EQ(client_->Wait(first, kPatience)->state, State::kSucceeded);
  EXPECT_EQ(client_->Wait(second, kPatience)->state, State::kFailed);
  EXPECT_EQ(client_->Get(second, kPatience)->display_name, "second");
  ListOptions options;
  options.page_size = 1;
  std::vector<std::string> listed;
  do {
    const absl::StatusOr<JobPage> page = client_->List(options, kPatience);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    for (const JobInfo& job : page->jobs) listed.push_back(job.name);
    options.page_token = page->next_page_token;
  } while (!options.page_token.empty());
  EXPECT_THAT(listed, testing::UnorderedElementsAre(first, second));
  options = ListOptions();
  options.filter = "state = FAILED";
  EXPECT_EQ(client_->List(options, kPatience)->jobs.size(), 1u);
  options = ListOptions();
  options.order_by = "create_time";
  const absl::StatusOr<JobPage> oldest_first = client_->List(options, kPatience);
  ASSERT_TRUE(oldest_first.ok()) << oldest_first.status().ToString();
  ASSERT_EQ(oldest_first->jobs.size(), listed.size());
  EXPECT_EQ(oldest_first->jobs[0].name, listed[1]);
  EXPECT_EQ(oldest_first->jobs[1].name, listed[0]);
  options.order_by = "name";
  EXPECT_EQ(ReasonOf(client_->List(options, kPatience).status()), "INVALID_FILTER");
}

TEST_F(ClientTest, NodesAreListedAndExplained) {
  Defaults defaults;
  defaults.retry = Retry(2);
  defaults.retry->initial = std::chrono::milliseconds(1);
  const std::string job = SubmitTo(
      Job("tree").Defaults(defaults).Root(Group()
                                              .Add(Exec("bad", {"sh", "-c", "exit 3"}))
                                              .Add(Exec("after", {"true"}).Needs({"bad"}))));
  ASSERT_TRUE(client_->Wait(job, kPatience).ok());
  ListNodesOptions options;
  options.page_size = 2;
  std::vector<std::string> listed;
  do {
    const absl::StatusOr<NodePage> page = client_->ListNodes(job, options, kPatience);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    for (const NodeInfo& node : page->nodes) {
      listed.push_back(node.path + " " + node.kind + " " + std::string(StateName(node.state)));
    }
    options.page_token = page->next_page_token;
  } while (!options.page_token.empty());
  EXPECT_THAT(listed,
              testing::ElementsAre(" GROUP FAILED", "bad EXEC FAILED", "after EXEC SKIPPED"));
  options = ListNodesOptions();
  options.filter = "state = SKIPPED";
  absl::StatusOr<NodePage> page = client_->ListNodes(job, options, kPatience);
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  ASSERT_EQ(page->nodes.size(), 1u);
  EXPECT_EQ(page->nodes[0].path, "after");

  const absl::StatusOr<NodeInfo> bad = client_->GetNode(job, "bad", kPatience);
  ASSERT_TRUE(bad.ok()) << bad.status().ToString();
  EXPECT_EQ(bad->max_attempts, 2);
  ASSERT_EQ(bad->attempts.size(), 2u);
  EXPECT_EQ(bad->attempts[1].number, 2);
  EXPECT_EQ(bad->attempts[1].exit_code, 3);
  EXPECT_EQ(client_->GetNode(job, "none", kPatience).status().code(), absl::StatusCode::kNotFound);
  const absl::StatusOr<ExplanationInfo> why = client_->Explain(job, "after", kPatience);
  ASSERT_TRUE(why.ok()) << why.status().ToString();
  EXPECT_EQ(why->state, State::kSkipped);
  EXPECT_THAT(why->text, HasSubstr("bad"));
}

TEST_F(ClientTest, NodesThatFailedAreListedFirst) {
  const Join collect = Join::Collect();
  const std::string job = SubmitTo(Job("tree").Root(
      Group().Join(collect).Add(Exec("a", {"true"})).Add(Group("g").Add(Exec("b", {"false"})))));
  ASSERT_TRUE(client_->Wait(job, kPatience).ok());
  ListNodesOptions options;
  options.order_by = "failed_first";
  const absl::StatusOr<NodePage> page = client_->ListNodes(job, options, kPatience);
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  std::vector<std::string> paths;
  for (const NodeInfo& node : page->nodes) paths.push_back(node.path);
  EXPECT_THAT(paths, testing::ElementsAre("", "g", "g/b", "a"));
}

TEST_F(ClientTest, WhatANodeWaitsForIsTold) {
  const std::string job = SubmitTo(Job("waits").Root(
      Group()
          .Add(Exec("n0", {"sh", "-c", "echo > \"$0\"; exec sleep 600", MarkOf("n0")}))
          .Add(Exec("after", {"true"}).Needs({"n0"}))));
  WaitForPrograms(1);
  const absl::StatusOr<NodeInfo> after = client_->GetNode(job, "after", kPatience);
  ASSERT_TRUE(after.ok()) << after.status().ToString();
  EXPECT_EQ(after->wait, "NEEDS");
  EXPECT_EQ(after->wait_object, "n0");
  EXPECT_EQ(client_->Explain(job, "after", kPatience)->wait, "NEEDS");
}

TEST_F(ClientTest, AWatchResumesWhereItWasCutOff) {
  const std::string job = SubmitTo(
      Job("watched").Root(Group().Add(Exec("a", {"true"})).Add(Exec("b", {"true"}).Needs({"a"}))));
  std::vector<int64_t> seqs;
  CallOptions call = kPatience;
  call.canceller.emplace();
  Handlers handlers;
  handlers.on_event = [&](const Event& event) {
    if (call.canceller->cancelled()) return;  // the rest of the same message
    seqs.push_back(event.seq);
    if (seqs.size() == 3) call.canceller->Cancel();
  };
  EXPECT_EQ(client_->Watch(job, {}, handlers, call).code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(seqs.size(), 3u);
  const std::vector<int64_t> rest = SeqsAfter(job, seqs.back());
  EXPECT_FALSE(rest.empty());
  seqs.insert(seqs.end(), rest.begin(), rest.end());
  EXPECT_EQ(seqs, SeqsAfter(job, 0));
}

TEST_F(ClientTest, ACancelGivesItsReceipt) {
  const std::string job = SubmitTo(Blocked(2));
  WaitForPrograms(2);
  CancelOptions options;
  options.reason = "enough";
  options.grace = std::chrono::minutes(1);
  const absl::StatusOr<CancelReceipt> receipt = client_->Cancel(job, options, kPatience);
  ASSERT_TRUE(receipt.ok()) << receipt.status().ToString();
  EXPECT_TRUE(receipt->complete);
  EXPECT_FALSE(receipt->already_ended);
  EXPECT_EQ(receipt->interrupted, 2);
  EXPECT_EQ(receipt->terminated, 2);
  EXPECT_EQ(receipt->killed, 0);
  EXPECT_EQ(receipt->survivor_count, 0);
  EXPECT_EQ(receipt->containment, client_->GetServerInfo(kPatience)->containment);
  EXPECT_THAT(receipt->containment, testing::AnyOf("SUBREAPER", "CGROUP"));
  EXPECT_EQ(receipt->cause.actor, "local");
  EXPECT_EQ(receipt->cause.reason, "enough");
  const absl::StatusOr<JobInfo> ended = client_->Wait(job, kPatience);
  EXPECT_EQ(ended->state, State::kCancelled);
  EXPECT_EQ(ended->cause.kind, "CANCELLED");
  EXPECT_TRUE(ended->last_cancel->complete);
  EXPECT_TRUE(client_->Cancel(job, options, kPatience)->already_ended);
}

TEST_F(ClientTest, ABranchIsCancelledAndTheRestGoesOn) {
  const std::string job = SubmitTo(Blocked(2));
  WaitForPrograms(2);
  CancelOptions options;
  options.path = "n0";
  options.kill = true;
  options.counts_as_skipped = true;
  const absl::StatusOr<CancelReceipt> receipt = client_->Cancel(job, options, kPatience);
  EXPECT_EQ(receipt->path, "n0");
  EXPECT_EQ(receipt->interrupted, 1);
  EXPECT_TRUE(receipt->complete);
  EXPECT_EQ(client_->Get(job, kPatience)->state, State::kRunning);
  EXPECT_TRUE(client_->Cancel(job, {}, kPatience)->complete);
}

TEST_F(ClientTest, ACallEndsAtItsTimeout) {
  const std::string job = SubmitTo(Blocked(1));
  const CallOptions brief(std::chrono::milliseconds(100));
  const absl::Status watched = client_->Watch(job, {}, {}, brief);
  EXPECT_EQ(watched.code(), absl::StatusCode::kDeadlineExceeded) << watched.ToString();
  // The server answers a little before the timeout; on a slow machine that little is not enough.
  absl::StatusOr<JobInfo> waited = watched;
  for (Duration limit = std::chrono::seconds(1); !waited.ok(); limit *= 2) {
    ASSERT_EQ(waited.status().code(), absl::StatusCode::kDeadlineExceeded);
    waited = client_->Wait(job, CallOptions(limit));
  }
  EXPECT_FALSE(waited->done);
}

TEST_F(ClientTest, TheTimeoutOfARunIsTheDeadlineOfItsJob) {
  std::string job;
  Handlers handlers;
  handlers.on_started = [&](const std::string& name) { job = name; };
  const absl::StatusOr<JobInfo> result =
      client_->Run(Blocked(1), {}, handlers, CallOptions(std::chrono::seconds(2)));
  if (!result.ok()) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  }
  const absl::StatusOr<JobInfo> ended = client_->Wait(job, kPatience);
  EXPECT_EQ(ended->state, State::kDeadlineExceeded);
  EXPECT_EQ(ended->cause.kind, "DEADLINE");
}

TEST_F(ClientTest, ADeadlineOfTheJobIsAResult) {
  const Job job = Blocked(1).Timeout(std::chrono::milliseconds(100));
  const absl::StatusOr<JobInfo> result = client_->Run(job, {}, {}, kPatience);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->state, State::kDeadlineExceeded);
}

TEST_F(ClientTest, AnotherThreadCancelsACall) {
  const std::string job = SubmitTo(Blocked(1));
  CallOptions call;
  call.canceller.emplace();
  std::thread canceller([&] { call.canceller->Cancel(); });
  const absl::Status waited = client_->Wait(job, call).status();
  canceller.join();
  EXPECT_EQ(waited.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Message(waited), "the caller has cancelled the call");
  EXPECT_EQ(client_->Get(job, call).status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(client_->Get(job, kPatience)->done);
}

TEST_F(ClientTest, ARunThatIsCancelledTakesItsTreeDown) {
  CallOptions call = kPatience;
  call.canceller.emplace();
  std::string job;
  Handlers handlers;
  handlers.on_started = [&](const std::string& name) { job = name; };
  handlers.on_event = [&](const Event& event) {
    if (event.kind == "attempt_started") call.canceller->Cancel();
  };
  const absl::StatusOr<JobInfo> result = client_->Run(Blocked(1), {}, handlers, call);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(client_->Wait(job, kPatience)->state, State::kCancelled);
}

TEST_F(ClientTest, AnExceptionOfAHandlerCancelsItsCall) {
  std::string job;
  Handlers handlers;
  handlers.on_started = [&](const std::string& name) {
    job = name;
    throw std::runtime_error("mine");
  };
  EXPECT_THROW(static_cast<void>(client_->Run(Blocked(1), {}, handlers, kPatience)),
               std::runtime_error);
  EXPECT_EQ(client_->Wait(job, kPatience)->state, State::kCancelled);
}

TEST_F(ClientTest, ErrorsHaveTheServersMessageAndReason) {
  const absl::Status missing = client_->Get("jobs/NONE", kPatience).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(missing), "JOB_NOT_FOUND");
  EXPECT_THAT(std::string(Message(missing)), HasSubstr("NONE"));
  EXPECT_TRUE(FieldErrorsOf(missing).empty());

  const absl::Status invalid =
      client_->Submit(Job("bad name!").Root(Group().Add(Exec("a", {}))), {}, kPatience).status();
  EXPECT_EQ(invalid.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(invalid), "INVALID_SPEC");
  const std::vector<FieldError> errors = FieldErrorsOf(invalid);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0].field, "job_spec.name");
  EXPECT_EQ(errors[1].field, "job_spec.root.group.nodes[0].exec.argv");
  EXPECT_NE(errors[1].problem, "");

  const Job job = Job("x").Root(Exec("", {"true"}).Finally(Exec("", {"true"}).Retry(Retry(2))));
  const absl::Status builders = client_->Submit(job, {}, kPatience).status();
  EXPECT_EQ(builders.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(builders), "");
  EXPECT_EQ(ReasonOf(absl::OkStatus()), "");
}

TEST_F(ClientTest, ARequestIdAdmitsOnce) {
  SubmitOptions options;
  options.request_id = "6f1c4f0e-7d0a-4d0c-9a53-3a6d1b1f0001";
  const Job job = Job("once").Root(Exec("", {"true"}));
  const absl::StatusOr<JobInfo> first = client_->Submit(job, options, kPatience);
  EXPECT_EQ(client_->Submit(job, options, kPatience)->name, first->name);
  const Job other = Job("other").Root(Exec("", {"true"}));
  EXPECT_EQ(ReasonOf(client_->Submit(other, options, kPatience).status()), "REQUEST_ID_REUSED");
  options = SubmitOptions();
  options.validate_only = true;
  EXPECT_EQ(client_->Submit(other, options, kPatience)->name, "");
  EXPECT_EQ(client_->List({}, kPatience)->jobs.size(), 1u);
}

TEST_F(ClientTest, OutputIsReadFromAnywhere) {
  const std::string job =
      SubmitTo(Job("out").Root(Group().Add(Exec("a", {"sh", "-c", "echo hello; echo bad >&2"}))));
  const auto read = [&](const OutputOptions& options) {
    std::string text;
    Handlers handlers;
    handlers.on_output = [&](const OutputChunk& chunk) { text += chunk.data; };
    const absl::Status status = client_->ReadOutput(job, options, handlers, kPatience);
    return status.ok() ? text : status.ToString();
  };
  OutputOptions options;
  options.path = "a";
  options.streams = {Stream::kStdout};
  options.follow = true;
  EXPECT_EQ(read(options), "hello\n");
  options.offset = 2;
  EXPECT_EQ(read(options), "llo\n");
  options.offset.reset();
  options.tail_bytes = 2;
  EXPECT_EQ(read(options), "o\n");
  options.tail_bytes.reset();
  options.streams = {Stream::kStderr};
  EXPECT_EQ(read(options), "bad\n");
  const absl::Status missing = client_->ReadOutput("jobs/NONE", {}, {}, kPatience);
  EXPECT_EQ(ReasonOf(missing), "JOB_NOT_FOUND");
}

TEST_F(ClientTest, OutputOfAnAttemptOfLinesAndOfAllNodesIsRead) {
  Retry again(2);
  again.initial = std::chrono::milliseconds(1);
  const char* const script = "echo a$NURSERY_ATTEMPT; echo b; exit 3";
  const std::string job =
      SubmitTo(Job("out").Root(Group()
                                   .Join(Join::Collect())
                                   .Add(Exec("twice", {"sh", "-c", script}).Retry(again))
                                   .Add(Exec("other", {"echo", "hello"}))));
  ASSERT_TRUE(client_->Wait(job, kPatience).ok());
  using Texts = std::map<std::string, std::string>;
  Texts texts;
  Handlers handlers;
  handlers.on_output = [&](const OutputChunk& chunk) { texts[chunk.path] += chunk.data; };
  const auto read = [&](const OutputOptions& options) {
    texts.clear();
    return client_->ReadOutput(job, options, handlers, kPatience);
  };
  OutputOptions options;
  options.path = "twice";
  options.attempt = 1;
  EXPECT_TRUE(read(options).ok());
  EXPECT_EQ(texts, (Texts{{"twice", "a1\nb\n"}}));
  options.attempt = 3;
  EXPECT_EQ(ReasonOf(read(options)), "WRONG_STATE");
  options.attempt = 0;
  options.tail_lines = 1;
  EXPECT_TRUE(read(options).ok());
  EXPECT_EQ(texts, (Texts{{"twice", "b\n"}}));
  options.tail_bytes = 1;
  EXPECT_EQ(read(options).code(), absl::StatusCode::kInvalidArgument);
  options = OutputOptions();
  options.recursive = true;
  EXPECT_TRUE(read(options).ok());
  EXPECT_EQ(texts, (Texts{{"other", "hello\n"}, {"twice", "a2\nb\n"}}));
}

TEST_F(ClientTest, TheServerSaysWhatItIs) {
  const absl::StatusOr<ServerInfo> info = client_->GetServerInfo(kPatience);
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_NE(info->version, "");
  EXPECT_THAT(info->functions, testing::Contains("noop"));
}

TEST_F(ClientTest, ThreadsShareAClient) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const auto result = client_->Run(Job("shared").Root(Call("", "noop")), {}, {}, kPatience);
        EXPECT_TRUE(result.ok() && result->state == State::kSucceeded);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client_->List({}, kPatience)->jobs.size(), 40u);
}

TEST_F(ClientTest, AServerThatIsGoneIsUnavailable) {
  const std::string job = SubmitTo(Blocked(1));
  Handlers handlers;
  handlers.on_event = [this](const Event&) { server_.Kill(); };
  for (const absl::Status& status :
       {client_->Watch(job, {}, handlers, kPatience), client_->Get(job, kPatience).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("no server at " + server_.address()));
    EXPECT_EQ(ReasonOf(status), "");
  }
}

TEST(ConnectTest, NobodyAtTheAddressIsUnavailable) {
  ConnectOptions options;
  options.timeout = std::chrono::milliseconds(50);
  options.address = "unix:/no/such/socket";
  absl::Status status = Client::Connect(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Message(status), "no server at /no/such/socket (no such socket)");

  const std::string file = testing::TempDir() + "/client_test_no_socket";
  std::ofstream(file).put('x');
  options.address = "unix:" + file;
  status = Client::Connect(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("nobody answers"));
  std::filesystem::remove(file);

  options.tls_ca_file = file;
  EXPECT_THAT(std::string(Message(Client::Connect(options).status())),
              HasSubstr("TLS is for HOST:PORT"));
  options.tls_ca_file = "";
  options.address = "";
  EXPECT_EQ(Client::Connect(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.address = "localhost:1";
  options.tls_certificate_file = "/no/such/certificate";
  EXPECT_THAT(std::string(Message(Client::Connect(options).status())),
              HasSubstr("a certificate and its key belong together"));
  options.tls_key_file = "/no/such/key";
  EXPECT_EQ(Client::Connect(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.tls_ca_file = "/no/such/authority";
  EXPECT_EQ(Client::Connect(options).status().code(), absl::StatusCode::kNotFound);
  options = ConnectOptions();
  options.address = "localhost:1";
  options.token_file = "/no/such/token";
  EXPECT_EQ(Client::Connect(options).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace nursery::client
