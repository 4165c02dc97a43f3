#include "server/warden/process_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nursery/core/status.h"
#include "server/warden/marks.h"
#include "server/warden/process_tree.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What happened to one attempt.
class Recorder : public ProcessHandler {
 public:
  void OnSpawned(pid_t spawned) override { pid = spawned; }
  void OnExited(const LeaderExit& leader_exit) override { exit = leader_exit; }
  void OnSurvivors(const Survivors& alive) override { survivors = alive; }
  void OnSpawnFailed(const absl::Status& why) override { End(&failed, why); }
  void OnGone(const AttemptEnd& attempt_end) override {
    gone = attempt_end;
    ++ends;
  }
  void OnLost(const absl::Status& why, const Survivors&) override { End(&lost, why); }

  pid_t pid = -1;
  std::optional<LeaderExit> exit;
  std::optional<AttemptEnd> gone;
  Survivors survivors;
  absl::Status failed;
  absl::Status lost;
  int ends = 0;

 private:
  void End(absl::Status* status, const absl::Status& why) {
    *status = why;
    ++ends;
  }
};

ProcessSpec Shell(const std::string& script) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  return spec;
}

size_t CountOwnFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

class ProcessHostTest : public testing::Test {
 protected:
  explicit ProcessHostTest(const ProcessHost::Options& options = HostOptions()) : host_(options) {}

  void TearDown() override {
    host_.Stop();
    EXPECT_TRUE(RunUntil([this] { return host_.stopped(); }));
    EXPECT_EQ(host_.stats().live, 0u);
  }

  void Start() {
    const absl::Status started = host_.Start();
    ASSERT_TRUE(started.ok()) << Message(started);
  }

  // False if `done` did not become true in time.
  bool RunUntil(const std::function<bool()>& done) {
    while (!done()) {
      if (!AwaitReadable(host_.fd())) return false;
      host_.OnReadable();
    }
    return true;
  }

  AttemptId Spawn(const ProcessSpec& spec, Recorder* recorder, TaskStdio stdio = {}) {
    const absl::StatusOr<AttemptId> attempt = host_.Spawn(spec, std::move(stdio), recorder);
    EXPECT_TRUE(attempt.ok()) << Message(attempt.status());
    return attempt.ok() ? *attempt : 0;
  }

  // Starts an escapee whose `count` processes are alive when this returns.
  AttemptId SpawnEscapee(const std::string& shape, int count, Recorder* recorder) {
    ProcessSpec spec;
    spec.argv = {BuiltBinary("../tests/escapee"), shape, mark_};
    Pipe in = MakePipe();
    Pipe out = MakePipe();
    TaskStdio stdio;
    stdio.fds[0] = std::move(in.reader);
    stdio.fds[1] = std::move(out.writer);
    const AttemptId attempt = Spawn(spec, recorder, std::move(stdio));
    EXPECT_TRUE(RunUntil([recorder] { return recorder->pid > 0; }));
    ReadLines(out.reader.get(), count);
    stdin_.push_back(std::move(in.writer));
    return attempt;
  }

  const std::string mark_ = NewMark();
  std::vector<UniqueFd> stdin_;
  ProcessHost host_;
};

ProcessHost::Options OptionsAtGroup() {
  ProcessHost::Options options = HostOptions();
  options.level = Level::kGroup;
  options.instance = "inner";
  return options;
}

class ProcessHostGroupTest : public ProcessHostTest {
 protected:
  ProcessHostGroupTest() : ProcessHostTest(OptionsAtGroup()) {}
};

TEST_F(ProcessHostTest, RunsAProcessToItsEnd) {
  Start();
  Recorder recorder;
  Spawn(Shell("exit 3"), &recorder);
  ASSERT_TRUE(RunUntil([&] { return recorder.ends > 0; }));
  EXPECT_GT(recorder.pid, 0);
  ASSERT_TRUE(recorder.exit);
  EXPECT_EQ(WEXITSTATUS(recorder.exit->wait_status), 3);
  ASSERT_TRUE(recorder.gone);
  EXPECT_EQ(recorder.gone->level, LevelsHere().back());
  EXPECT_EQ(recorder.gone->toll.killed, 0u);
}

TEST_F(ProcessHostTest, SaysWhyAProcessWasNotStarted) {
  Start();
  Recorder recorder;
  ProcessSpec spec;
  spec.argv = {"/no/such/program"};
  Spawn(spec, &recorder);
  ASSERT_TRUE(RunUntil([&] { return recorder.ends > 0; }));
  EXPECT_EQ(recorder.failed.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Message(recorder.failed), "cannot execute the program: No such file or directory");
}

TEST_F(ProcessHostTest, RefusesAMalformedSpecAtOnce) {
  Start();
  Recorder recorder;
  const absl::StatusOr<AttemptId> attempt = host_.Spawn({}, {}, &recorder);
  EXPECT_EQ(attempt.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ProcessHostTest, KillLeavesNothing) {
  Start();
  Recorder recorder;
  host_.Kill(SpawnEscapee("wide", 25, &recorder));
  ASSERT_TRUE(RunUntil([&] { return recorder.ends > 0; }));
  ASSERT_TRUE(recorder.gone);
  EXPECT_EQ(recorder.gone->toll.killed, 25u);
  EXPECT_TRUE(recorder.exit->killed_by_us);
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
}

TEST_F(ProcessHostGroupTest, FindsWhatEscapesBelowAnAttemptOfAnotherServer) {
  Start();
  ProcessSpec spec;
  spec.argv = {BuiltBinary("../tests/escapee"), "setsid", mark_};
  spec.env = {"A=1", "NURSERY_CONTAINMENT=outer:7", "B=2"};
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  TaskStdio stdio;
  stdio.fds[0] = std::move(in.reader);
  stdio.fds[1] = std::move(out.writer);
  Recorder recorder;
  Spawn(spec, &recorder, std::move(stdio));
  ASSERT_TRUE(RunUntil([&] { return recorder.pid > 0; }));
  ReadLines(out.reader.get(), 2);
  in.writer.reset();  // the leader exits
  ASSERT_TRUE(RunUntil([&] { return recorder.ends > 0; }));
  ASSERT_TRUE(recorder.gone);
  ASSERT_EQ(recorder.gone->escaped.total, 1u);
  const pid_t escaped = recorder.gone->escaped.named.at(0).pid;
  EXPECT_THAT(MarksOf({*ReadProcess(escaped)}).at(0), ElementsAre("outer:7", "inner:1"));
  kill(escaped, SIGKILL);
}

TEST_F(ProcessHostGroupTest, AfterTheWardensDeathAReaperHoldsItsOwnAttemptOnly) {
  Start();
  Recorder stuck;
  Recorder other;
  SpawnEscapee("background", 4, &stuck);
  SpawnEscapee("background", 4, &other);
  const pid_t reaper = ReadProcess(stuck.pid)->parent;
  kill(reaper, SIGSTOP);
  kill(OnlyChild(), SIGKILL);
  ASSERT_TRUE(RunUntil([&] { return other.ends > 0; }));
  EXPECT_EQ(stuck.ends, 0);
  EXPECT_EQ(FindMarked(mark_).size(), 4u);
  kill(reaper, SIGCONT);
  ASSERT_TRUE(RunUntil([&] { return stuck.ends > 0; }));
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
}

ProcessHost::Options OptionsAtSubreaper() {
  ProcessHost::Options options = HostOptions();
  options.level = Level::kSubreaper;
  return options;
}

class ProcessHostSubreaperTest : public ProcessHostTest {
 protected:
  ProcessHostSubreaperTest() : ProcessHostTest(OptionsAtSubreaper()) {}
};

// Also with its environment cleared, and while the reaper of another attempt is at work.
TEST_F(ProcessHostSubreaperTest, WhoCallsItselfAReaperIsNoneAndIsKilled) {
  const std::string program = testing::TempDir() + "/" + kReaperName;
  std::filesystem::copy_file("/bin/sh", program, std::filesystem::copy_options::overwrite_existing);
  Start();
  Recorder stuck;
  SpawnEscapee("background", 4, &stuck);
  Recorder named;
  ProcessSpec spec;
  // Not the leader, which ends with its reaper.
  const std::string script = program + " -c '/bin/sleep 60; :' " + mark_ + "-named & wait";
  spec.argv = {"/usr/bin/env", "-i", "/bin/sh", "-c", script};
  Spawn(spec, &named);
  ASSERT_TRUE(RunUntil([&] { return named.pid > 0; }));
  const auto is_named = [](pid_t pid) {
    const std::optional<ProcessInfo> process = ReadProcess(pid);
    return process && process->name == kReaperName;
  };
  const auto any_named = [&] {
    const std::vector<pid_t> marked = FindMarked(mark_ + "-named");
    return std::any_of(marked.begin(), marked.end(), is_named);
  };
  while (!any_named()) sched_yield();
  const pid_t at_work = ReadProcess(stuck.pid)->parent;
  const pid_t killed = ReadProcess(named.pid)->parent;
  kill(at_work, SIGSTOP);
  kill(killed, SIGSTOP);  // it would do its work
  kill(OnlyChild(), SIGKILL);
  kill(killed, SIGKILL);
  EXPECT_TRUE(RunUntil([&] { return named.ends > 0; }));
  EXPECT_THAT(FindMarked(mark_ + "-named"), IsEmpty());
  EXPECT_EQ(stuck.ends, 0);
  kill(at_work, SIGCONT);
  ASSERT_TRUE(RunUntil([&] { return stuck.ends > 0; }));
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
  std::filesystem::remove(program);
}

TEST_F(ProcessHostTest, TerminateLeavesTimeUntilKill) {
  Start();
  Recorder recorder;
  const AttemptId attempt = SpawnEscapee("stubborn_child", 2, &recorder);
  host_.Terminate(attempt);
  ASSERT_TRUE(RunUntil([&] { return recorder.exit.has_value(); }));
  EXPECT_EQ(recorder.ends, 0);
  EXPECT_EQ(FindMarked(mark_).size(), 1u);
  host_.Kill(attempt);
  ASSERT_TRUE(RunUntil([&] { return recorder.ends > 0; }));
  EXPECT_EQ(recorder.gone->leftovers, 1u);
}

TEST_F(ProcessHostTest, KillBeforeTheStartEndsTheAttemptOnce) {
  Start();
  std::vector<Recorder> recorders(20);
  // The warden has not said hello yet: nothing is sent.
  for (Recorder& recorder : recorders) host_.Kill(Spawn(Shell("sleep 60"), &recorder));
  ASSERT_TRUE(RunUntil([&] { return host_.stats().live == 0; }));
  for (const Recorder& recorder : recorders) {
    EXPECT_EQ(recorder.ends, 1);
    EXPECT_EQ(recorder.failed.code(), absl::StatusCode::kCancelled);
  }
}

TEST_F(ProcessHostTest, RunsMoreAtOnceThanThereAreCredits) {
  Start();
  std::vector<Recorder> recorders(size_t{3} * kSpawnCredits);
  for (Recorder& recorder : recorders) Spawn(Shell("exit 0"), &recorder);
  ASSERT_TRUE(RunUntil([&] { return host_.stats().live == 0; }));
  for (const Recorder& recorder : recorders) EXPECT_TRUE(recorder.gone);
}

TEST_F(ProcessHostTest, RefusesSpawnsAboveTheLimitOfWaitingOnes) {
  Start();
  std::vector<Recorder> recorders(kMaxWaitingSpawns);
  for (Recorder& recorder : recorders) Spawn(Shell("exit 0"), &recorder);
  const absl::StatusOr<AttemptId> refused = host_.Spawn(Shell("exit 0"), {}, nullptr);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  host_.Stop();
  ASSERT_TRUE(RunUntil([&] { return host_.stopped(); }));
  for (const Recorder& recorder : recorders) EXPECT_EQ(recorder.ends, 1);
}

TEST_F(ProcessHostTest, SpawnsFromManyThreads) {
  Start();
  std::vector<Recorder> recorders(40);
  std::atomic<int> finished = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < recorders.size(); i += 4) {
        const AttemptId attempt = Spawn(Shell("exit 0"), &recorders[i]);
        if (i % 2 == 0) host_.Kill(attempt);
      }
      ++finished;
    });
  }
  while (finished < 4) host_.OnReadable();
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(RunUntil([&] { return host_.stats().live == 0; }));
  for (const Recorder& recorder : recorders) EXPECT_EQ(recorder.ends, 1);
}

TEST_F(ProcessHostTest, AfterTheWardensDeathNothingIsAliveAndWorkGoesOn) {
  Start();
  Recorder recorders[3];
  SpawnEscapee("daemon", 2, &recorders[0]);
  SpawnEscapee("chain", 2, &recorders[1]);
  SpawnEscapee("clean_environment", 2, &recorders[2]);
  kill(OnlyChild(), SIGKILL);
  ASSERT_TRUE(RunUntil([&] { return host_.stats().attempts_lost == 3; }));
  for (const Recorder& recorder : recorders) {
    EXPECT_EQ(recorder.ends, 1);
    EXPECT_EQ(recorder.lost.code(), absl::StatusCode::kAborted);
  }
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
  Recorder next;
  Spawn(Shell("exit 0"), &next);
  ASSERT_TRUE(RunUntil([&] { return next.ends > 0; }));
  EXPECT_TRUE(next.gone);
  EXPECT_EQ(host_.stats().wardens_started, 2u);
}

TEST_F(ProcessHostTest, KillsWhatADeadWardenAndADeadReaperLeave) {
  Start();
  Recorder recorders[2];
  SpawnEscapee("daemon", 2, &recorders[0]);
  SpawnEscapee("wide", 25, &recorders[1]);
  const pid_t reaper = ReadProcess(recorders[1].pid)->parent;
  kill(OnlyChild(), SIGKILL);
  kill(reaper, SIGKILL);
  ASSERT_TRUE(RunUntil([&] { return host_.stats().attempts_lost == 2; }));
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
}

TEST_F(ProcessHostTest, AfterTheWardensDeathAReaperThatDoesNotEndHoldsItsOwnAttemptOnly) {
  Start();
  Recorder stuck;
  Recorder others[2];
  SpawnEscapee("wide", 25, &stuck);
  SpawnEscapee("daemon", 2, &others[0]);
  SpawnEscapee("plain", 1, &others[1]);
  // Of the others one ends by itself, and for one it is done here.
  const pid_t reaper = ReadProcess(stuck.pid)->parent;
  const pid_t killed = ReadProcess(others[1].pid)->parent;
  const pid_t warden = OnlyChild();
  for (const pid_t pid : {reaper, killed, warden}) kill(pid, SIGSTOP);
  Recorder unseen;  // by the warden
  Spawn(Shell("exit 0"), &unseen);
  for (const pid_t pid : {warden, killed}) kill(pid, SIGKILL);
  ASSERT_TRUE(
      RunUntil([&] { return others[0].ends > 0 && others[1].ends > 0 && unseen.ends > 0; }));
  EXPECT_EQ(stuck.ends, 0);
  ASSERT_TRUE(RunUntil([&] { return stuck.survivors.total > 0; }));
  EXPECT_EQ(stuck.survivors.total, 25u);
  EXPECT_EQ(stuck.survivors.named.size(), kMaxNamedSurvivors);
  Recorder next;
  Spawn(Shell("exit 0"), &next);
  ASSERT_TRUE(RunUntil([&] { return next.ends > 0; }));
  kill(reaper, SIGCONT);
  ASSERT_TRUE(RunUntil([&] { return stuck.ends > 0; }));
  EXPECT_EQ(host_.stats().attempts_lost, 4u);
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
}

TEST_F(ProcessHostTest, AKilledReaperLosesOnlyItsOwnAttempt) {
  Start();
  Recorder lost;
  Recorder other;
  SpawnEscapee("daemon", 2, &lost);
  const AttemptId attempt = SpawnEscapee("plain", 1, &other);
  kill(ReadProcess(lost.pid)->parent, SIGKILL);
  ASSERT_TRUE(RunUntil([&] { return lost.ends > 0; }));
  EXPECT_THAT(std::string(Message(lost.lost)), HasSubstr("reaper process was killed"));
  EXPECT_EQ(FindMarked(mark_), std::vector<pid_t>{other.pid});
  host_.Kill(attempt);
  ASSERT_TRUE(RunUntil([&] { return other.ends > 0; }));
}

TEST_F(ProcessHostTest, StopKillsWhatRuns) {
  Start();
  Recorder recorder;
  SpawnEscapee("daemon", 2, &recorder);
  host_.Stop();
  host_.Stop();
  ASSERT_TRUE(RunUntil([&] { return host_.stopped(); }));
  EXPECT_EQ(recorder.ends, 1);
  EXPECT_THAT(FindMarked(mark_), IsEmpty());
  EXPECT_EQ(host_.Spawn(Shell("exit 0"), {}, &recorder).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(ProcessHostStartTest, SaysThatTheWardenIsMissing) {
  ProcessHost host(HostOptions("/no/such/warden"));
  const absl::Status started = host.Start();
  EXPECT_EQ(started.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(started)), HasSubstr("/no/such/warden"));
}

TEST(ProcessHostStartTest, AWardenThatDiesAtItsStartFailsTheSpawnsAndIsNotRestartedForEver) {
  ProcessHost host(HostOptions("/bin/false"));
  ASSERT_TRUE(host.Start().ok());
  Recorder recorder;
  ASSERT_TRUE(host.Spawn(Shell("exit 0"), {}, &recorder).ok());
  while (recorder.ends == 0 || !host.stopped()) {
    ASSERT_TRUE(AwaitReadable(host.fd()));
    host.OnReadable();
  }
  EXPECT_EQ(recorder.failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(host.stats().wardens_started, 1u);
}

TEST(ProcessHostStartTest, HoldsNoDescriptorAfterItsEnd) {
  const size_t before = CountOwnFiles();
  {
    ProcessHost host(HostOptions());
    ASSERT_TRUE(host.Start().ok());
    std::vector<Recorder> recorders(10);
    for (Recorder& recorder : recorders) {
      TaskStdio stdio;
      stdio.fds[1] = MakePipe().writer;
      ASSERT_TRUE(host.Spawn(Shell("exit 0"), std::move(stdio), &recorder).ok());
    }
    while (host.stats().live > 0) {
      ASSERT_TRUE(AwaitReadable(host.fd()));
      host.OnReadable();
    }
    host.Stop();
    while (!host.stopped()) {
      ASSERT_TRUE(AwaitReadable(host.fd()));
      host.OnReadable();
    }
  }
  EXPECT_EQ(CountOwnFiles(), before);
}

}  // namespace
}  // namespace nursery::warden
