// Every way to escape times every way to end, at every level of containment that works here:
// afterwards nothing is alive. At the level `group` the session is not, and the rest is named.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "server/warden/cgroup.h"
#include "server/warden/leftovers.h"
#include "server/warden/pidfd.h"
#include "server/warden/process_tree.h"
#include "tests/warden/announced.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using Trial = std::tuple<std::string, std::string, Level>;

class EscapeMatrixTest : public testing::TestWithParam<Trial> {
 protected:
  // Where a keeper is killed, what it leaves comes here and not to init, and is reaped.
  void SetUp() override {
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    if (shape() == "setuid") MakeSetuidProgram();
  }
  void TearDown() override {
    if (!setuid_program_.empty()) std::filesystem::remove(setuid_program_);
    for (const pid_t escaped : outside_) kill(escaped, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  std::string shape() const { return std::get<0>(GetParam()); }
  std::string ending() const { return std::get<1>(GetParam()); }
  Level level() const { return std::get<2>(GetParam()); }

  // Of an account that this process may kill. Who is not root has none, and its process becomes a
  // program that gains nothing.
  void MakeSetuidProgram() {
    unsetenv("SETUID");
    if (geteuid() != 0) return;
    setuid_program_ = testing::TempDir() + mark_ + "-setuid";
    std::filesystem::copy_file(BuiltBinary("../tests/escapee"), setuid_program_);
    ASSERT_EQ(chown(setuid_program_.c_str(), 65534, 65534), 0);
    ASSERT_EQ(chmod(setuid_program_.c_str(), 04755), 0);
    setenv("SETUID", setuid_program_.c_str(), 1);
  }

  // That it did become somebody else, where the file system lets it.
  void ExpectSetuid() const {
    struct statvfs status;
    if (setuid_program_.empty() || statvfs(setuid_program_.c_str(), &status) != 0) return;
    if ((status.f_flag & ST_NOSUID) != 0) return;
    size_t others = 0;
    for (const pid_t pid : announced_.pids()) {
      std::ifstream stream("/proc/" + std::to_string(pid) + "/status");
      const std::string text{std::istreambuf_iterator<char>(stream), {}};
      others += text.find("\nUid:\t0\t65534\t") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(others, 1u);
  }

  // Those that are in another session than the leader.
  void FindOutside() {
    pid_t session = -1;
    for (const pid_t pid : announced_.pids()) {
      const std::optional<ProcessInfo> process = ReadProcess(pid);
      const std::optional<ProcessInfo> parent =
          process ? ReadProcess(process->parent) : std::nullopt;
      if (parent && parent->name == "nursery-reaper") session = pid;
    }
    ASSERT_GT(session, 0);
    for (const pid_t pid : announced_.pids()) {
      const std::optional<ProcessInfo> process = ReadProcess(pid);
      if (process && process->session != session) outside_.push_back(pid);
    }
  }

  void AwaitAllAlive() {
    stdout_.writer.reset();
    stdin_.reader.reset();
    ASSERT_TRUE(announced_.Read(stdout_.reader.get(), kShapes.at(shape()), mark_));
    ASSERT_TRUE(announced_.AllAlive(shape()));
    if (shape() == "setuid") ExpectSetuid();
    if (level() == Level::kGroup) FindOutside();
  }

  // The pipe is held by the warden and by every reaper: at its end of file all have ended.
  void AwaitKeepersEnd() {
    held_.writer.reset();
    ASSERT_TRUE(AwaitReadable(held_.reader.get()));
  }

  // But for those that the level does not promise to reach.
  void ExpectNothingAlive() {
    EXPECT_THAT(announced_.Survivors(), testing::ElementsAreArray(outside_));
    EXPECT_THAT(FindMarked(mark_), testing::UnorderedElementsAreArray(outside_));
  }

  // SURVIVOR for each of them that can be known by its environment.
  void ExpectOutsideNamed(TestClient* client, uint64_t attempt) const {
    std::vector<pid_t> named;
    for (size_t i = 0; i < std::min<size_t>(outside_.size(), kMaxNamedSurvivors); ++i) {
      if (shape() == "clean_environment") continue;
      const std::optional<Packet> survivor = client->AwaitEscaped(attempt);
      ASSERT_TRUE(survivor);
      EXPECT_EQ(survivor->count, outside_.size());
      named.push_back(survivor->pid);
    }
    EXPECT_THAT(outside_, testing::IsSupersetOf(named));
  }

  const std::string mark_ = NewMark();
  std::string setuid_program_;  // empty: none
  Pipe stdin_ = MakePipe();
  Pipe stdout_ = MakePipe();
  Pipe held_ = MakePipe();
  Announced announced_;
  std::vector<pid_t> outside_;
};

pid_t ReaperOf(pid_t leader) { return ReadProcess(leader)->parent; }

class AttemptEndTest : public EscapeMatrixTest {};

TEST_P(AttemptEndTest, NothingIsAliveWhenGoneIsReported) {
  TestClient client({held_.writer.get()}, level());
  const uint64_t attempt =
      client.Spawn(EscapeeSpec(shape(), mark_), {stdin_.reader.get(), stdout_.writer.get(), -1});
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
  EXPECT_EQ(static_cast<Level>(gone->detail), level());
  ExpectNothingAlive();
  if (level() == Level::kCgroup) {
    EXPECT_FALSE(std::filesystem::exists(client.run_cgroup() + "/" + LeafName(attempt)));
  }
  EXPECT_EQ((gone->flags & kReaperLost) != 0, ending() == "reaper_killed");
  if (ending() == "reaper_killed") return;
  ExpectOutsideNamed(&client, attempt);
  if (ending() == "leader_exits" && !kEndless.contains(shape())) {
    EXPECT_EQ(gone->count, kShapes.at(shape()) - 1u - outside_.size());
  }
}

// What ends an attempt comes while it is being started: the warden finds both at once.
class SpawningEndTest : public EscapeMatrixTest {};

TEST_P(SpawningEndTest, NothingIsAliveWhenGoneIsReported) {
  TestClient client({held_.writer.get()}, level());
  ASSERT_TRUE(client.Await(PacketType::kHello));
  kill(client.warden().pid, SIGSTOP);
  const uint64_t attempt =
      client.Spawn(EscapeeSpec(shape(), mark_), {stdin_.reader.get(), stdout_.writer.get(), -1});
  if (ending() == "terminated_and_killed") client.Send(PacketType::kTerm, attempt);
  if (ending() == "socket_closed") {
    client.CloseSocket();
  } else {
    client.Send(PacketType::kKill, attempt);
  }
  kill(client.warden().pid, SIGCONT);
  if (ending() == "socket_closed") {
    AwaitKeepersEnd();
  } else {
    ASSERT_TRUE(client.Await(PacketType::kGone, attempt));
  }
  ExpectNothingAlive();
  EXPECT_FALSE(std::filesystem::exists(client.run_cgroup() + "/" + LeafName(attempt)));
}

class SpawningKillTest : public testing::TestWithParam<Level> {};

// At whatever point of its start: later from round to round.
TEST_P(SpawningKillTest, NothingIsAliveWhenGoneIsReported) {
  TestClient client({}, GetParam());
  ASSERT_TRUE(client.Await(PacketType::kHello));
  const std::string mark = NewMark();
  for (int round = 0; round < 60; ++round) {
    const uint64_t attempt = client.Spawn(EscapeeSpec("wide", mark));
    for (int i = 0; i < 10 * round; ++i) sched_yield();
    client.Send(PacketType::kKill, attempt);
    ASSERT_TRUE(client.Await(PacketType::kGone, attempt));
    ASSERT_THAT(FindMarked(mark), testing::IsEmpty()) << "round " << round;
  }
}

class KeeperEndTest : public EscapeMatrixTest {};

TEST_P(KeeperEndTest, NothingIsAliveWhenTheLastKeeperHasEnded) {
  TestClient client({held_.writer.get()}, level());
  const uint64_t attempt =
      client.Spawn(EscapeeSpec(shape(), mark_), {stdin_.reader.get(), stdout_.writer.get(), -1});
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
  EXPECT_FALSE(std::filesystem::exists(client.run_cgroup()));
}

class ServerKillTest : public EscapeMatrixTest {
 protected:
  // A process that is the server of a warden; all its own are known when this returns.
  void StartServer() {
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
    std::string level_argument(LevelName(level()));
    std::string mark = "MARK=" + mark_;
    std::string directory = "NURSERY_BIN=" + BuiltBinary("");
    char* argv[] = {program.data(), shape_argument.data(), level_argument.data(), nullptr};
    std::string setuid = "SETUID=" + setuid_program_;
    char* env[] = {mark.data(), directory.data(), nullptr, nullptr};
    if (!setuid_program_.empty()) env[2] = setuid.data();
    ASSERT_EQ(posix_spawn(&server_, program.c_str(), &actions, nullptr, argv, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    report.writer.reset();
    std::istringstream text(ReadLines(report.reader.get(), 1));
    ASSERT_TRUE(text >> warden_);
    text >> run_cgroup_;
    AwaitAllAlive();
  }

  // None of them may do anything while the others die.
  void KillAtOnce(std::vector<pid_t> pids) const {
    for (const pid_t pid : pids) kill(pid, SIGSTOP);
    for (const pid_t pid : pids) kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(server_, nullptr, 0), server_);
  }

  pid_t server_ = -1;
  pid_t warden_ = -1;
  std::string run_cgroup_;
};

TEST_P(ServerKillTest, NothingIsAliveWhenTheLastKeeperHasEnded) {
  StartServer();
  if (HasFatalFailure()) return;
  std::vector<pid_t> victims = {server_};
  if (ending() == "server_and_warden_killed") victims.push_back(warden_);
  KillAtOnce(victims);
  AwaitKeepersEnd();
  ExpectNothingAlive();
  EXPECT_TRUE(run_cgroup_.empty() || !std::filesystem::exists(run_cgroup_));
}

class SweepTest : public ServerKillTest {};

// Below the level `cgroup` this promises less: what cleared its environment may live.
TEST_P(SweepTest, NothingIsAliveAfterTheNextStartsSweep) {
  StartServer();
  if (HasFatalFailure()) return;
  std::vector<pid_t> victims = {server_, warden_};
  VisitDescendants(warden_, [&](const ProcessInfo& process) {
    if (process.parent == warden_) victims.push_back(process.pid);
  });
  KillAtOnce(victims);
  const std::string record = testing::TempDir() + mark_;
  if (!run_cgroup_.empty()) {
    ASSERT_TRUE(NoteCgroup(record, run_cgroup_).ok());
  }
  const absl::Status swept = SweepLeftovers({mark_, record}, kPatience);
  EXPECT_TRUE(swept.ok()) << swept.message();
  outside_.clear();
  if (level() != Level::kCgroup) {
    // The leader dies with its reaper, which nobody waits for.
    const size_t allowed = shape() == "clean_environment" ? 1 : 0;
    ASSERT_TRUE(announced_.AwaitAtMost(allowed));
    outside_ = announced_.Survivors();
  }
  ExpectNothingAlive();
  EXPECT_FALSE(std::filesystem::exists(record));
  EXPECT_TRUE(run_cgroup_.empty() || !std::filesystem::exists(run_cgroup_));
}

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const auto& [name, count] : kShapes) names.push_back(name);
  return names;
}

std::string TrialName(const testing::TestParamInfo<EscapeMatrixTest::ParamType>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param) + "_" +
         std::string(LevelName(std::get<2>(info.param)));
}

auto Trials(const std::vector<std::string>& endings) {
  std::vector<Trial> trials;
  for (const Level level : LevelsHere()) {
    for (const std::string& ending : endings) {
      for (const std::string& shape : ShapeNames()) {
        // What forks in a loop cannot be ended at this level once its leader is gone, nor found by
        // its mark: each of its processes is gone before a scan comes to it.
        const bool by_mark = ending == "all_killed" && level == Level::kSubreaper;
        if (kEndless.contains(shape) && (by_mark || level == Level::kGroup)) continue;
        trials.emplace_back(shape, ending, level);
      }
    }
  }
  return testing::ValuesIn(trials);
}

INSTANTIATE_TEST_SUITE_P(All, AttemptEndTest,
                         Trials({"leader_exits", "killed", "terminated_then_killed",
                                 "reaper_killed"}),
                         TrialName);
// But at the level `group`: how much of it had left the session is not known.
std::vector<Level> WholeLevels() {
  std::vector<Level> levels = LevelsHere();
  std::erase(levels, Level::kGroup);
  return levels;
}

auto SpawningTrials() {
  std::vector<Trial> trials;
  for (const Level level : WholeLevels()) {
    for (const char* ending : {"killed", "terminated_and_killed", "socket_closed"}) {
      for (const std::string& shape : ShapeNames()) trials.emplace_back(shape, ending, level);
    }
  }
  return testing::ValuesIn(trials);
}

INSTANTIATE_TEST_SUITE_P(All, SpawningEndTest, SpawningTrials(), TrialName);
INSTANTIATE_TEST_SUITE_P(All, SpawningKillTest, testing::ValuesIn(WholeLevels()),
                         [](const auto& info) { return std::string(LevelName(info.param)); });
INSTANTIATE_TEST_SUITE_P(All, KeeperEndTest, Trials({"socket_closed", "warden_killed"}), TrialName);
INSTANTIATE_TEST_SUITE_P(All, ServerKillTest, Trials({"server_killed", "server_and_warden_killed"}),
                         TrialName);
INSTANTIATE_TEST_SUITE_P(All, SweepTest, Trials({"all_killed"}), TrialName);

}  // namespace
}  // namespace nursery::warden
