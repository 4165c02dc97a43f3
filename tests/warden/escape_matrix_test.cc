// Every way to escape times every way to end: afterwards nothing is alive.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "server/warden/pidfd.h"
#include "server/warden/process_tree.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

// How many processes announce themselves per shape.
const std::map<std::string, int> kShapes = {{"plain", 1},
                                            {"background", 4},
                                            {"ignores_term", 2},
                                            {"setsid", 2},
                                            {"double_fork", 2},
                                            {"daemon", 2},
                                            {"holds_stdout", 2},
                                            {"chain", 2},
                                            {"stops_itself", 2},
                                            {"zombies", 2},
                                            {"subreaper", 3},
                                            {"wide", 25},
                                            {"clean_environment", 2},
                                            {"dead_main_thread", 2}};

// The task's processes as they announced themselves; each was seen alive under its mark.
class Announced {
 public:
  // Reads `count` pids from the task's stdout.
  bool Read(int fd, int count, const std::string& mark) {
    const std::string text = ReadLines(fd, count);
    if (std::count(text.begin(), text.end(), '\n') != count) return false;
    for (size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
      pids_.push_back(std::atoi(text.c_str() + begin));
      pidfds_.push_back(OpenPidfd(pids_.back()));
      const std::optional<ProcessInfo> process = ReadProcess(pids_.back());
      if (!process || process->dead) continue;
      // With its first thread a process loses its command line in /proc, but not its name.
      const bool marked = CommandLine(*process).find(mark) != std::string::npos;
      alive_ += marked || process->name == "escapee" ? 1 : 0;
    }
    return true;
  }

  int alive() const { return alive_; }
  const std::vector<pid_t>& pids() const { return pids_; }

  // Those that have not ended, without waiting.
  std::vector<pid_t> Survivors() const {
    std::vector<pid_t> survivors;
    for (size_t i = 0; i < pids_.size(); ++i) {
      pollfd ended = {pidfds_[i].get(), POLLIN, 0};
      if (pidfds_[i].valid() && poll(&ended, 1, 0) == 0) survivors.push_back(pids_[i]);
    }
    return survivors;
  }

 private:
  std::vector<pid_t> pids_;
  std::vector<UniqueFd> pidfds_;
  int alive_ = 0;
};

class EscapeMatrixTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  // Where a keeper is killed, what it leaves comes here and not to init, and is reaped.
  void SetUp() override { ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }
  void TearDown() override {
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  std::string shape() const { return std::get<0>(GetParam()); }
  std::string ending() const { return std::get<1>(GetParam()); }

  ProcessSpec Spec() const {
    ProcessSpec spec;
    spec.argv = {BuiltBinary("../tests/escapee"), shape(), mark_};
    spec.env = {"NURSERY_MARK=" + mark_};
    return spec;
  }

  void AwaitAllAlive() {
    stdout_.writer.reset();
    stdin_.reader.reset();
    const int count = kShapes.at(shape());
    ASSERT_TRUE(announced_.Read(stdout_.reader.get(), count, mark_));
    // A process of the chain lives too briefly to be looked at after its announcement.
    const int expected = shape() == "chain" ? 1 : count;
    ASSERT_GE(announced_.alive(), expected);
    ASSERT_GE(announced_.Survivors().size(), static_cast<size_t>(expected));
  }

  // The pipe is held by the warden and by every reaper: at its end of file all have ended.
  void AwaitKeepersEnd() {
    held_.writer.reset();
    ASSERT_TRUE(AwaitReadable(held_.reader.get()));
  }

  void ExpectNothingAlive() {
    EXPECT_THAT(announced_.Survivors(), testing::IsEmpty());
    EXPECT_THAT(FindMarked(mark_), testing::IsEmpty());
  }

  const std::string mark_ = NewMark();
  Pipe stdin_ = MakePipe();
  Pipe stdout_ = MakePipe();
  Pipe held_ = MakePipe();
  Announced announced_;
};

pid_t ReaperOf(pid_t leader) { return ReadProcess(leader)->parent; }

class AttemptEndTest : public EscapeMatrixTest {};

TEST_P(AttemptEndTest, NothingIsAliveWhenGoneIsReported) {
  TestClient client({held_.writer.get()});
  const uint64_t attempt = client.Spawn(Spec(), {stdin_.reader.get(), stdout_.writer.get(), -1});
  const std::optional<Packet> spawned = client.Await(PacketType::kSpawned, attempt);
  ASSERT_TRUE(spawned);
  AwaitAllAlive();
  if (HasFatalFailure()) return;
  if (ending() == "leader_exits") {
    stdin_.writer.reset();
  } else if (ending() == "killed") {
    client.Send(PacketType::kKill, attempt);
  } else if (ending() == "terminated_then_killed") {
    client.Send(PacketType::kTerm, attempt);
    client.Send(PacketType::kKill, attempt);
  } else {
    ASSERT_EQ(ending(), "reaper_killed");
    kill(ReaperOf(spawned->pid), SIGKILL);
  }
  const std::optional<Packet> gone = client.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  ExpectNothingAlive();
  EXPECT_EQ((gone->flags & kReaperLost) != 0, ending() == "reaper_killed");
  if (ending() == "leader_exits" && shape() != "chain") {
    EXPECT_EQ(gone->count, kShapes.at(shape()) - 1u);
  }
}

class KeeperEndTest : public EscapeMatrixTest {};

TEST_P(KeeperEndTest, NothingIsAliveWhenTheLastKeeperHasEnded) {
  TestClient client({held_.writer.get()});
  const uint64_t attempt = client.Spawn(Spec(), {stdin_.reader.get(), stdout_.writer.get(), -1});
  ASSERT_TRUE(client.Await(PacketType::kSpawned, attempt));
  AwaitAllAlive();
  if (HasFatalFailure()) return;
  if (ending() == "socket_closed") {
    client.CloseSocket();
  } else {
    ASSERT_EQ(ending(), "warden_killed");
    kill(client.warden().pid, SIGKILL);
  }
  AwaitKeepersEnd();
  ExpectNothingAlive();
}

class ServerKillTest : public EscapeMatrixTest {
 protected:
  // Gives the pid of a process that is the server of a warden, whose pid goes to `warden`.
  void StartServer(pid_t* server, pid_t* warden) {
    Pipe report = MakePipe();
    // Above the numbers that the server expects, so that no dup2 overwrites another's source.
    const int sources[] = {stdin_.reader.get(), stdout_.writer.get(), -1, held_.writer.get(),
                           report.writer.get()};
    std::vector<UniqueFd> copies;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int target = 0; target < 5; ++target) {
      if (sources[target] < 0) continue;
      copies.emplace_back(fcntl(sources[target], F_DUPFD_CLOEXEC, 10));
      posix_spawn_file_actions_adddup2(&actions, copies.back().get(), target);
    }
    std::string program = BuiltBinary("../tests/fake_server");
    std::string shape_argument = shape();
    std::string mark = "MARK=" + mark_;
    std::string directory = "NURSERY_BIN=" + BuiltBinary("");
    char* argv[] = {program.data(), shape_argument.data(), nullptr};
    char* env[] = {mark.data(), directory.data(), nullptr};
    ASSERT_EQ(posix_spawn(server, program.c_str(), &actions, nullptr, argv, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    report.writer.reset();
    char text[16] = {};
    ASSERT_TRUE(AwaitReadable(report.reader.get()));
    ASSERT_GT(read(report.reader.get(), text, sizeof(text) - 1), 0);
    *warden = std::atoi(text);
  }
};

TEST_P(ServerKillTest, NothingIsAliveWhenTheLastKeeperHasEnded) {
  pid_t server = -1;
  pid_t warden = -1;
  StartServer(&server, &warden);
  if (HasFatalFailure()) return;
  AwaitAllAlive();
  if (ending() == "server_and_warden_killed") kill(warden, SIGKILL);
  kill(server, SIGKILL);
  EXPECT_EQ(waitpid(server, nullptr, 0), server);
  if (HasFatalFailure()) return;
  AwaitKeepersEnd();
  ExpectNothingAlive();
}

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const auto& [name, count] : kShapes) names.push_back(name);
  return names;
}

std::string TrialName(const testing::TestParamInfo<EscapeMatrixTest::ParamType>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param);
}

INSTANTIATE_TEST_SUITE_P(All, AttemptEndTest,
                         testing::Combine(testing::ValuesIn(ShapeNames()),
                                          testing::Values("leader_exits", "killed",
                                                          "terminated_then_killed",
                                                          "reaper_killed")),
                         TrialName);
INSTANTIATE_TEST_SUITE_P(All, KeeperEndTest,
                         testing::Combine(testing::ValuesIn(ShapeNames()),
                                          testing::Values("socket_closed", "warden_killed")),
                         TrialName);
INSTANTIATE_TEST_SUITE_P(All, ServerKillTest,
                         testing::Combine(testing::ValuesIn(ShapeNames()),
                                          testing::Values("server_killed",
                                                          "server_and_warden_killed")),
                         TrialName);

}  // namespace
}  // namespace nursery::warden
