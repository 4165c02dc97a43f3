#include "nursery/core/io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "nursery/core/group.h"
#include "nursery/core/sleep.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = fds[0];
    write_end = fds[1];
  }
  ~Pipe() {
    close(read_end);
    if (write_end >= 0) close(write_end);
  }
  int read_end;
  int write_end;
};

Async<absl::Status> ReadAll(Context ctx, int fd, std::string* text) {
  for (;;) {
    absl::Status ready = co_await ReadReady(ctx, fd);
    if (!ready.ok()) co_return ready;
    char buffer[1000];
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got == 0) co_return absl::OkStatus();
    if (got > 0) text->append(buffer, static_cast<size_t>(got));
  }
}

Async<absl::Status> WriteAll(Context ctx, Pipe* to, std::string text) {
  size_t done = 0;
  while (done < text.size()) {
    absl::Status ready = co_await WriteReady(ctx, to->write_end);
    if (!ready.ok()) co_return ready;
    const ssize_t put = write(to->write_end, text.data() + done, text.size() - done);
    if (put > 0) done += static_cast<size_t>(put);
  }
  close(to->write_end);
  to->write_end = -1;
  co_return absl::OkStatus();
}

Async<absl::Status> Transfer(Group& group, Pipe* through, std::string text, std::string* got) {
  absl::Status reading = co_await group.Spawn("read", ReadAll, through->read_end, got);
  absl::Status writing = co_await group.Spawn("write", WriteAll, through, std::move(text));
  co_return reading.ok() ? writing : reading;
}

Async<absl::Status> TransferMegabyte(Context ctx) {
  Pipe through;
  std::string text(1 << 20, 'x');
  std::string got;
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), Transfer, &through, text, &got);
  EXPECT_EQ(got.size(), text.size());
  co_return result.status;
}

TEST(IoTest, MovesAMegabyteThroughAPipe) {
  SeededExecutor seeded(1);
  absl::Status status = seeded.Run("pipe", TransferMegabyte);
  EXPECT_TRUE(status.ok()) << status;
  ThreadExecutor threads(2);
  status = threads.Run("pipe", TransferMegabyte);
  EXPECT_TRUE(status.ok()) << status;
}

SEEDED_TEST(IoTest, CancelEndsTheWait) {
  Pipe silent;
  CancelScope scope(ctx);
  scope.Cancel("stop");
  absl::Status ready = co_await ReadReady(scope.context(), silent.read_end);
  EXPECT_TRUE(absl::IsCancelled(ready));
  EXPECT_EQ(executor.poller().waiters(), 0u);
  co_return absl::OkStatus();
}

Async<absl::Status> WaitToRead(Context ctx, int fd) { co_return co_await ReadReady(ctx, fd); }

Async<absl::Status> SpawnAndDump(Group& group, const CancelScope* scope, int fd,
                                 std::string* dump) {
  absl::Status spawned = co_await group.Spawn("reader", WaitToRead, fd);
  Executor& executor = group.context().executor();
  constexpr auto kIo = static_cast<size_t>(WaitReason::kIo);
  while (executor.Stats().by_reason[kIo] == 0) co_await Yield();
  *dump = executor.Dump();
  scope->Cancel("stop");
  co_return spawned;
}

Async<absl::Status> CancelWhoReads(Context ctx) {
  Pipe silent;
  std::string dump;
  CancelScope scope(ctx);
  GroupResult result = co_await WithGroup(scope.context(), GroupOptions(), SpawnAndDump, &scope,
                                          silent.read_end, &dump);
  EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  EXPECT_EQ(ctx.executor().poller().waiters(), 0u);
  EXPECT_NE(dump.find("[io, "), std::string::npos) << dump;
  EXPECT_NE(dump.find("  on fd " + std::to_string(silent.read_end) + "\n"), std::string::npos)
      << dump;
  co_return absl::OkStatus();
}

SEEDED_TEST(IoTest, CancelReachesWhoWaits) { co_return co_await CancelWhoReads(ctx); }

TEST(IoTest, CancelReachesWhoWaitsOnThreads) {
  ThreadExecutor threads(2);
  absl::Status status = threads.Run("cancel", CancelWhoReads);
  EXPECT_TRUE(status.ok()) << status;
}

SEEDED_TEST(IoTest, ASecondWaiterIsRefused) {
  if (executor.Random(20) != 0) co_return absl::OkStatus();  // each run waits a moment of real time
  Pipe silent;
  auto wait = [](Context child, int fd) -> Async<absl::Status> {
    absl::Status ready = co_await ReadReady(child, fd);
    co_return ready;
  };
  auto body = [](Group& group, int fd, decltype(wait) run) -> Async<absl::Status> {
    absl::Status spawned = co_await group.Spawn("first", run, fd);
    while (group.context().executor().poller().waiters() == 0) co_await Yield();
    absl::Status second = co_await ReadReady(group.context(), fd);
    co_return second;
  };
  GroupResult result = co_await WithGroup(ctx, GroupOptions(), body, silent.read_end, wait);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status)) << result.status;
  co_return absl::OkStatus();
}

SEEDED_TEST(IoTest, ARegularFileIsAlwaysReadyAndABadDescriptorIsAnError) {
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  absl::Status ready = co_await ReadReady(ctx, file);
  close(file);
  absl::Status bad = co_await ReadReady(ctx, file);
  EXPECT_FALSE(bad.ok());
  co_return ready;
}

}  // namespace
}  // namespace nursery
