#include "nursery/core/dump.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>

#include "core/testing/leak_check.h"
#include "core/testing/seeds.h"
#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"

namespace nursery {
namespace {

using std::chrono::seconds;
using testing::ContainsRegex;
using testing::HasSubstr;

Async<absl::Status> WaitForPermit(Context ctx, Semaphore* semaphore) {
  absl::StatusOr<Permit> permit = co_await semaphore->Acquire(ctx);
  co_return permit.status();
}

Async<absl::Status> DumpWhileWaiting(Group& group, Semaphore* semaphore, std::string* text) {
  absl::Status spawned = co_await group.Spawn("loader", WaitForPermit, semaphore);
  absl::Status slept = co_await Sleep(group.context(), seconds(132));
  *text = group.context().executor().Dump();
  co_return spawned.ok() ? slept : spawned;
}

SEEDED_TEST(DumpTest, TellsStateReasonAgeDeadlineLineAndParents) {
  Semaphore semaphore(1);
  std::optional<Permit> taken = semaphore.TryAcquire();
  std::string text;
  CancelScope scope(ctx, ctx.Now() + seconds(600), "job");
  auto release = [](Group& group, Semaphore* of, std::string* dump,
                    std::optional<Permit>* permit) -> Async<absl::Status> {
    absl::Status dumped = co_await DumpWhileWaiting(group, of, dump);
    permit->reset();
    co_return dumped;
  };
  GroupResult result =
      co_await WithGroup(scope.context(), GroupOptions(), release, &semaphore, &text, &taken);
  EXPECT_THAT(text, HasSubstr("2 tasks\n"));
  EXPECT_THAT(
      text,
      ContainsRegex("task 2 .semaphore, 2m 12s. loader  age 2m 12s  deadline in 7m 48s  on 0x"));
  EXPECT_THAT(text, ContainsRegex("    at .*tests/core/dump_test.cc:[0-9]+\n"));
  EXPECT_THAT(text, ContainsRegex("    spawned at .*dump_test.cc:[0-9]+ by task 1\n"));
  EXPECT_THAT(text, ContainsRegex("task 1 .running, "));
  EXPECT_THAT(text, ContainsRegex("    started at .*seeds.cc:[0-9]+ as test\n"));
  co_return result.status;
}

SEEDED_TEST(DumpTest, CountsByStateAndReason) {
  auto body = [](Group& group) -> Async<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      auto sleeper = [](Context child) -> Async<absl::Status> {
        co_return co_await Sleep(child, seconds(5));
      };
      absl::Status spawned = co_await group.Spawn("sleeper", sleeper);
      if (!spawned.ok()) co_return spawned;
    }
    absl::Status slept = co_await Sleep(group.context(), seconds(1));
    const TaskStats stats = group.context().executor().Stats();
    EXPECT_EQ(stats.live, 4);
    EXPECT_EQ(stats.by_reason[static_cast<int>(WaitReason::kTimer)], 3);
    EXPECT_EQ(stats.by_state[static_cast<int>(TaskState::kWaiting)], 3);
    EXPECT_EQ(stats.by_state[static_cast<int>(TaskState::kRunning)], 1);
    co_return slept;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body);
  co_return result.status;
}

TEST(DumpTest, SigquitPrintsTheDumpAndTheProcessLivesOn) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const int saved = dup(STDERR_FILENO);
  std::string text;
  {
    DumpOnSigquit dumper;
    ThreadExecutor executor(1);
    absl::Status status = executor.Run("quitter", [&](Context ctx) {
      return [](Context root, int write_end) -> Async<absl::Status> {
        std::fflush(stderr);
        dup2(write_end, STDERR_FILENO);
        kill(getpid(), SIGQUIT);
        co_return root.status();
      }(std::move(ctx), fds[1]);
    });
    EXPECT_TRUE(status.ok());
    pollfd printed{.fd = fds[0], .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&printed, 1, 10'000), 1);
    char buffer[4096];
    text.assign(buffer, static_cast<size_t>(read(fds[0], buffer, sizeof buffer)));
  }
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(fds[0]);
  close(fds[1]);
  EXPECT_THAT(text, HasSubstr(" tasks\n"));
}

// The leak check must be able to fail.
TEST(LeakCheckTest, NamesWhatWasLeaked) {
  LeakCheck check;
  check.SetUp();
  EXPECT_TRUE(check.FindLeaks().empty());
  const int leaked = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(check.FindLeaks().size(), 1u);
  EXPECT_EQ(check.FindLeaks()[0], "descriptor " + std::to_string(leaked) + " -> /dev/null");
  close(leaked);

  ThreadExecutor executor(1);
  absl::Status status = executor.Run("still here", [&check](Context ctx) {
    return [](Context, const LeakCheck* of) -> Async<absl::Status> {
      // The executor's own descriptors and this task.
      EXPECT_THAT(of->FindLeaks(), testing::Contains(HasSubstr("still here")));
      co_return absl::OkStatus();
    }(std::move(ctx), &check);
  });
  EXPECT_TRUE(status.ok());
}

}  // namespace
}  // namespace nursery
