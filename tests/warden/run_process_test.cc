#include "server/warden/run_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>

#include "nursery/core/executor.h"
#include "nursery/core/group.h"
#include "nursery/core/io.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using testing::IsEmpty;
using Result = absl::StatusOr<ProcessResult>;

// One attempt of an escapee, and what to do with it.
struct Trial {
  std::string shape;
  int processes = 0;
  Duration grace = std::chrono::hours(1);
  std::string mark = NewMark();
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  Result result = absl::UnknownError("not run");
  std::atomic<int> started = 0;  // of many
  std::atomic<int> succeeded = 0;
};

Async<absl::Status> RunEscapee(Context ctx, ProcessHost* host, Trial* trial) {
  ProcessSpec spec;
  spec.argv = {BuiltBinary("../tests/escapee"), trial->shape, trial->mark};
  TaskStdio stdio;
  stdio.fds[0] = std::move(trial->in.reader);
  stdio.fds[1] = std::move(trial->out.writer);
  TakeDown take_down(trial->grace);
  Result result = co_await RunProcess(ctx, host, std::move(spec), std::move(stdio),
                                      std::move(take_down), nullptr);
  trial->result = std::move(result);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelWhenAlive(Group& group, ProcessHost* host, Trial* trial,
                                    CancelScope* scope) {
  absl::Status spawned = co_await group.Spawn("run", RunEscapee, host, trial);
  if (!spawned.ok()) co_return spawned;
  for (int i = 0; i < trial->processes; ++i) {
    absl::Status ready = co_await ReadReady(group.context(), trial->out.reader.get());
    if (!ready.ok()) co_return ready;
    ReadLines(trial->out.reader.get(), 1);
  }
  scope->Cancel("the test says so");
  co_return absl::OkStatus();
}

// Runs the trial, cancels it when all its processes are alive.
Async<absl::Status> RunAndCancel(Context ctx, ProcessHost* host, Trial* trial) {
  CancelScope scope(ctx);
  const GroupResult ignored =
      co_await WithGroup(scope.context(), GroupOptions(), CancelWhenAlive, host, trial, &scope);
  co_return absl::OkStatus();
}

using Body = Async<absl::Status> (*)(Context ctx, ProcessHost* host, Trial* trial);

Async<absl::Status> ServeAndRun(Group& group, ProcessHost* host, Trial* trial, Body body,
                                CancelScope* scope) {
  absl::Status serving = co_await group.Spawn("serve", ServeProcesses, host);
  if (!serving.ok()) co_return serving;
  absl::Status done = co_await body(group.context(), host, trial);
  scope->Cancel("done");
  co_return done;
}

Async<absl::Status> RunTrial(Context ctx, Trial* trial, Body body) {
  ProcessHost host(HostOptions());
  absl::Status started = host.Start();
  if (!started.ok()) co_return started;
  CancelScope scope(ctx);
  const GroupResult ignored =
      co_await WithGroup(scope.context(), GroupOptions(), ServeAndRun, &host, trial, body, &scope);
  EXPECT_TRUE(host.stopped());
  co_return absl::OkStatus();
}

void RunOnThreads(Trial* trial, Body body) {
  ThreadExecutor executor(2);
  const absl::Status status = executor.Run(
      "test", [trial, body](Context ctx) { return RunTrial(std::move(ctx), trial, body); });
  EXPECT_TRUE(status.ok()) << Message(status);
  EXPECT_THAT(FindMarked(trial->mark), IsEmpty());
}

TEST(RunProcessTest, GivesTheExitStatus) {
  Trial trial;
  trial.shape = "plain";
  trial.in.writer.reset();
  RunOnThreads(&trial, RunEscapee);
  ASSERT_TRUE(trial.result.ok()) << Message(trial.result.status());
  EXPECT_EQ(WEXITSTATUS(trial.result->exit.wait_status), 7);
  EXPECT_GT(trial.result->pid, 0);
  EXPECT_FALSE(trial.result->terminated);
  EXPECT_FALSE(trial.result->escalated);
  EXPECT_EQ(trial.result->end.level, LevelsHere().back());
  EXPECT_LE(trial.result->spawn_time, trial.result->exit_time);
  EXPECT_LE(trial.result->exit_time, trial.result->end_time);
}

TEST(RunProcessTest, CountsLeftovers) {
  Trial trial;
  trial.shape = "background";
  trial.in.writer.reset();
  RunOnThreads(&trial, RunEscapee);
  ASSERT_TRUE(trial.result.ok()) << Message(trial.result.status());
  EXPECT_EQ(trial.result->end.leftovers, 3u);
  EXPECT_EQ(trial.result->end.toll.killed, 3u);
  EXPECT_EQ(trial.result->end.toll.terminated, 0u);
}

TEST(RunProcessTest, CancellationTerminates) {
  Trial trial;
  trial.shape = "setsid";
  trial.processes = 2;
  RunOnThreads(&trial, RunAndCancel);
  ASSERT_TRUE(trial.result.ok()) << Message(trial.result.status());
  EXPECT_EQ(WTERMSIG(trial.result->exit.wait_status), SIGTERM);
  EXPECT_TRUE(trial.result->terminated);
  EXPECT_FALSE(trial.result->escalated);
  EXPECT_EQ(trial.result->end.toll.terminated, 2u);
  EXPECT_EQ(trial.result->end.toll.killed, 0u);
}

TEST(RunProcessTest, AfterTheGraceItKills) {
  Trial trial;
  trial.shape = "ignores_term";
  trial.processes = 2;
  trial.grace = std::chrono::milliseconds(1);
  RunOnThreads(&trial, RunAndCancel);
  ASSERT_TRUE(trial.result.ok()) << Message(trial.result.status());
  EXPECT_EQ(WTERMSIG(trial.result->exit.wait_status), SIGKILL);
  EXPECT_TRUE(trial.result->exit.killed_by_us);
  EXPECT_TRUE(trial.result->escalated);
  EXPECT_EQ(trial.result->end.toll.terminated, 0u);
  EXPECT_EQ(trial.result->end.toll.killed, 2u);
}

TEST(RunProcessTest, GivesWhyAProgramDidNotStart) {
  const auto body = [](Context ctx, ProcessHost* host, Trial* trial) -> Async<absl::Status> {
    ProcessSpec spec;
    spec.argv = {"/no/such/program"};
    TakeDown at_once(Duration::zero());
    Result result =
        co_await RunProcess(ctx, host, std::move(spec), TaskStdio(), std::move(at_once), nullptr);
    trial->result = std::move(result);
    co_return absl::OkStatus();
  };
  Trial trial;
  RunOnThreads(&trial, body);
  EXPECT_EQ(trial.result.status().code(), absl::StatusCode::kNotFound);
}

// More than may wait for the warden.
constexpr int kMany = kMaxWaitingSpawns + 300;

Async<absl::Status> RunOneOfMany(Context ctx, ProcessHost* host, Trial* trial) {
  ++trial->started;
  ProcessSpec spec;
  spec.argv = {"true"};
  TakeDown at_once(Duration::zero());
  Result result =
      co_await RunProcess(ctx, host, std::move(spec), TaskStdio(), std::move(at_once), nullptr);
  trial->succeeded += result.ok() ? 1 : 0;
  co_return absl::OkStatus();
}

// The warden stands still until all of them want to start, or have been cancelled.
Async<absl::Status> SpawnMany(Group& group, ProcessHost* host, Trial* trial, CancelScope* scope) {
  const pid_t warden = OnlyChild();
  kill(warden, SIGSTOP);
  for (int i = 0; i < kMany; ++i) {
    absl::Status spawned = co_await group.Spawn("one", RunOneOfMany, host, trial);
    EXPECT_TRUE(spawned.ok());
  }
  while (trial->started < kMany || host->stats().live < kMaxWaitingSpawns) co_await Yield();
  if (scope != nullptr) scope->Cancel("the test says so");
  // What it was sent before it can only end itself.
  while (scope != nullptr && host->stats().live > kSpawnCredits) co_await Yield();
  kill(warden, SIGCONT);
  co_return absl::OkStatus();
}

Async<absl::Status> RunMany(Context ctx, ProcessHost* host, Trial* trial) {
  CancelScope* const none = nullptr;
  const GroupResult ignored = co_await WithGroup(ctx, GroupOptions(), SpawnMany, host, trial, none);
  co_return absl::OkStatus();
}

Async<absl::Status> CancelMany(Context ctx, ProcessHost* host, Trial* trial) {
  CancelScope scope(ctx);
  const GroupResult ignored =
      co_await WithGroup(scope.context(), GroupOptions(), SpawnMany, host, trial, &scope);
  co_return absl::OkStatus();
}

TEST(RunProcessTest, MoreThanTheWardenCanHaveWaitingAreNotRefused) {
  Trial trial;
  RunOnThreads(&trial, RunMany);
  EXPECT_EQ(trial.succeeded, kMany);
}

TEST(RunProcessTest, ThoseThatWaitForAPlaceCanBeCancelled) {
  Trial trial;
  RunOnThreads(&trial, CancelMany);
  EXPECT_LE(trial.succeeded, static_cast<int>(kSpawnCredits));
}

TEST(RunProcessTest, StopOfTheHostEndsTheAttempt) {
  const auto body = [](Context ctx, ProcessHost* host, Trial* trial) -> Async<absl::Status> {
    host->Stop();
    ProcessSpec spec;
    spec.argv = {"true"};
    TakeDown at_once(Duration::zero());
    Result result =
        co_await RunProcess(ctx, host, std::move(spec), TaskStdio(), std::move(at_once), nullptr);
    trial->result = std::move(result);
    co_return absl::OkStatus();
  };
  Trial trial;
  RunOnThreads(&trial, body);
  EXPECT_EQ(trial.result.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace nursery::warden
