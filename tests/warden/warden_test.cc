#include "server/warden/warden.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "server/warden/pidfd.h"
#include "server/warden/process_tree.h"
#include "server/warden/reaper.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using testing::IsEmpty;

ProcessSpec Shell(const std::string& script) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  return spec;
}

ProcessSpec Escapee(const std::string& shape, const std::string& mark) {
  ProcessSpec spec;
  spec.argv = {BuiltBinary("../tests/escapee"), shape, mark};
  return spec;
}

Step FailedStep(const Packet& packet) { return static_cast<Step>(packet.detail); }

size_t CountOpenFiles(pid_t pid) {
  const std::filesystem::directory_iterator files("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

class WardenTest : public testing::Test {
 protected:
  // The status with which `spec` ends, -1 if it does not.
  int Run(const ProcessSpec& spec, const Stdio& stdio = {}) {
    const uint64_t attempt = client_.Spawn(spec, stdio);
    const std::optional<Packet> exited = client_.Await(PacketType::kExited, attempt);
    if (!exited || !client_.Await(PacketType::kGone, attempt)) return -1;
    return exited->code;
  }

  // What `spec` writes to stdout.
  std::string Output(const ProcessSpec& spec) {
    Pipe pipe = MakePipe();
    const uint64_t attempt = client_.Spawn(spec, {-1, pipe.writer.get(), -1});
    pipe.writer.reset();
    const std::string text = ReadAll(pipe.reader.get());
    EXPECT_TRUE(client_.Await(PacketType::kGone, attempt));
    return text;
  }

  struct Started {
    uint64_t attempt;
    UniqueFd in;  // the attempt's leader stays until this is closed
    UniqueFd out;
  };

  // Starts an escapee and waits until `count` processes have announced themselves.
  Started Start(const std::string& shape, const std::string& mark, int count) {
    Pipe in = MakePipe();
    Pipe out = MakePipe();
    const uint64_t attempt =
        client_.Spawn(Escapee(shape, mark), {in.reader.get(), out.writer.get(), -1});
    out.writer.reset();
    ReadLines(out.reader.get(), count);
    return {attempt, std::move(in.writer), std::move(out.reader)};
  }

  // GONE comes a moment before the warden has closed its reaper's socket.
  void AwaitIdle() {
    std::optional<Packet> stats;
    do {
      client_.Send(PacketType::kStats, 0);
      stats = client_.Await(PacketType::kStats);
    } while (stats && CountersOf(*stats).live > 0);
  }

  std::vector<pid_t> Reapers() {
    std::vector<pid_t> reapers;
    const pid_t warden = client_.warden().pid;
    VisitDescendants(warden, [&](const ProcessInfo& process) {
      if (process.parent == warden) reapers.push_back(process.pid);
    });
    return reapers;
  }

  void AwaitReapers(size_t count) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (Reapers().size() != count && std::chrono::steady_clock::now() < end) sched_yield();
    EXPECT_EQ(Reapers().size(), count);
  }

  // Runs `spec`, which reads its input to the end, and gives the pid of its reaper.
  pid_t ReaperOf(const ProcessSpec& spec) {
    Pipe in = MakePipe();
    const uint64_t attempt = client_.Spawn(spec, {in.reader.get(), -1, -1});
    const std::optional<Packet> spawned = client_.Await(PacketType::kSpawned, attempt);
    if (!spawned) return -1;
    const pid_t reaper = ReadProcess(spawned->pid)->parent;
    in.writer.reset();
    return client_.Await(PacketType::kGone, attempt) ? reaper : -1;
  }

  std::optional<Packet> Failure(const ProcessSpec& spec) {
    return client_.Await(PacketType::kSpawnFailed, client_.Spawn(spec));
  }

  TestClient client_;
};

TEST_F(WardenTest, SaysVersionAndLevelFirst) {
  const std::optional<Packet> hello = client_.Await(PacketType::kHello);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->code, kProtocolVersion);
  EXPECT_EQ(static_cast<Level>(hello->detail), LevelsHere().back());
  EXPECT_EQ(hello->count, kSpawnCredits);
}

TEST_F(WardenTest, ReportsExitCodeAndUsage) {
  const uint64_t attempt = client_.Spawn(Shell("exit 3"));
  const std::optional<Packet> exited = client_.Await(PacketType::kExited, attempt);
  ASSERT_TRUE(exited);
  EXPECT_TRUE(WIFEXITED(exited->code));
  EXPECT_EQ(WEXITSTATUS(exited->code), 3);
  EXPECT_GT(UsageOf(*exited).max_rss_bytes, 0u);
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->count, 0u);
  EXPECT_EQ(gone->flags, 0);
}

TEST_F(WardenTest, ReportsDeathBySignal) {
  const int status = Run(Shell("kill -ABRT $$"));
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
}

TEST_F(WardenTest, SaysWhyAProgramCannotBeStarted) {
  const struct {
    std::string program;
    int error;
  } cases[] = {{"no-such-program", ENOENT},
               {"/no/such/program", ENOENT},
               {"/etc/passwd", EACCES},
               {"/etc", EACCES}};
  for (const auto& [program, error] : cases) {
    ProcessSpec spec;
    spec.argv = {program};
    const std::optional<Packet> failed = Failure(spec);
    ASSERT_TRUE(failed) << program;
    EXPECT_EQ(FailedStep(*failed), Step::kProgram) << program;
    EXPECT_EQ(failed->code, error) << program;
  }
}

TEST_F(WardenTest, SaysThatAFileIsNoProgramInsteadOfAskingAShell) {
  const std::string path = testing::TempDir() + "/not_a_program_" + std::to_string(getpid());
  std::ofstream(path) << "echo hello\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  ProcessSpec spec;
  spec.argv = {path};
  const std::optional<Packet> failed = Failure(spec);
  std::filesystem::remove(path);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->code, ENOEXEC);
}

TEST_F(WardenTest, SaysThatTheWorkingDirectoryIsMissing) {
  ProcessSpec spec = Shell("true");
  spec.cwd = "/no/such/directory";
  const std::optional<Packet> failed = Failure(spec);
  ASSERT_TRUE(failed);
  EXPECT_EQ(FailedStep(*failed), Step::kDirectory);
  EXPECT_EQ(failed->code, ENOENT);
}

TEST_F(WardenTest, SaysThatArgumentsAreTooBig) {
  ProcessSpec spec = Shell("true");
  spec.argv.push_back(std::string(size_t{200} * 1024, 'x'));
  const std::optional<Packet> failed = Failure(spec);
  ASSERT_TRUE(failed);
  EXPECT_EQ(FailedStep(*failed), Step::kProgram);
  EXPECT_EQ(failed->code, E2BIG);
}

TEST_F(WardenTest, PassesMoreArgumentsThanAPacketCouldHold) {
  ProcessSpec spec = Shell("echo $#");
  spec.argv.resize(10000, std::string(100, 'x'));
  EXPECT_EQ(Output(spec), "9996\n");
}

TEST_F(WardenTest, LooksAProgramUpInTheTasksOwnPath) {
  ProcessSpec spec;
  spec.argv = {"sh", "-c", "echo found"};
  spec.env = {"PATH=/nowhere:/usr/bin:/bin"};
  EXPECT_EQ(Output(spec), "found\n");
  spec.env = {"PATH=/nowhere"};
  const std::optional<Packet> failed = Failure(spec);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->code, ENOENT);
}

TEST_F(WardenTest, TakesARelativeProgramFromTheWorkingDirectory) {
  ProcessSpec spec;
  spec.argv = {"../bin/sh", "-c", "pwd"};
  spec.cwd = "/usr/lib";
  EXPECT_EQ(Output(spec), "/usr/lib\n");
}

TEST_F(WardenTest, StartsTheTaskWithACleanState) {
  const std::string text = Output(
      Shell("env | grep -v '^PWD=\\|^_=\\|^OLDPWD=\\|^SHLVL='; umask;"
            "cat /proc/self/oom_score_adj; grep 'NoNewPrivs\\|SigBlk\\|SigIgn' /proc/self/status;"
            "cut -d' ' -f7 /proc/$$/stat; readlink /proc/$$/fd/0; set -- /proc/$$/fd/*; echo $#"));
  // Four descriptors: the fourth reads the directory. A pipeline would have more, for a moment.
  EXPECT_EQ(text,
            "0022\n500\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nNoNewPrivs:\t1\n"
            "0\n/dev/null\n4\n");
}

TEST_F(WardenTest, LeadsItsOwnSession) {
  EXPECT_EQ(Output(Shell("test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo leader")), "leader\n");
}

TEST_F(WardenTest, AppliesLimitsPriorityAndMask) {
  ProcessSpec spec = Shell(
      "ulimit -n; ulimit -c; ulimit -t; nice; umask; "
      "grep NoNewPrivs /proc/self/status");
  spec.limits[static_cast<size_t>(Limit::kFiles)] = 77;
  spec.limits[static_cast<size_t>(Limit::kCore)] = 0;
  spec.limits[static_cast<size_t>(Limit::kCpuSeconds)] = 9;
  spec.nice = 5;  // more than this process's
  spec.umask = 027;
  spec.no_new_privs = false;
  const std::string nice = std::to_string(std::min(19, getpriority(PRIO_PROCESS, 0) + 5));
  EXPECT_EQ(Output(spec), "77\n0\n9\n" + nice + "\n0027\nNoNewPrivs:\t0\n");
}

TEST_F(WardenTest, TakesOnTheRightsOfAnAccount) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  ProcessSpec spec = Shell("id -ru; id -u; id -rg; id -g; id -G; grep CapEff /proc/self/status");
  spec.account = Account{65534, 65533, {65533, 65532}};
  EXPECT_EQ(Output(spec), "65534\n65534\n65533\n65533\n65533 65532\nCapEff:\t0000000000000000\n");
  // What the account may not enter is refused as the account.
  spec.cwd = testing::TempDir() + "/" + NewMark();
  ASSERT_TRUE(std::filesystem::create_directory(spec.cwd));
  std::filesystem::permissions(spec.cwd, std::filesystem::perms::owner_all);
  const std::optional<Packet> failed = Failure(spec);
  std::filesystem::remove(spec.cwd);
  ASSERT_TRUE(failed);
  EXPECT_EQ(FailedStep(*failed), Step::kDirectory);
  EXPECT_EQ(failed->code, EACCES);
}

TEST_F(WardenTest, OnlyRootCanBeSomebodyElse) {
  if (geteuid() == 0) GTEST_SKIP() << "this is root";
  ProcessSpec spec = Shell("exit 0");
  spec.account = Account{0, 0, {}};
  const std::optional<Packet> failed = Failure(spec);
  ASSERT_TRUE(failed);
  EXPECT_EQ(FailedStep(*failed), Step::kAccount);
  EXPECT_EQ(failed->code, EPERM);
}

// The change of rights takes back that the leader dies with its reaper.
TEST_F(WardenTest, AProcessOfAnAccountDiesWithItsReaper) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  Pipe in = MakePipe();
  ProcessSpec spec = Shell("read line");
  spec.account = Account{65534, 65534, {}};
  const uint64_t attempt = client_.Spawn(spec, {in.reader.get(), -1, -1});
  const std::optional<Packet> spawned = client_.Await(PacketType::kSpawned, attempt);
  ASSERT_TRUE(spawned);
  const UniqueFd leader = OpenPidfd(spawned->pid);
  const pid_t reaper = ReadProcess(spawned->pid)->parent;
  kill(client_.warden().pid, SIGSTOP);
  kill(reaper, SIGKILL);
  EXPECT_TRUE(AwaitReadable(leader.get()));
  kill(client_.warden().pid, SIGCONT);
  EXPECT_TRUE(client_.Await(PacketType::kGone, attempt));
}

TEST_F(WardenTest, EachProcessGetsSigtermOnceAndThenSigcont) {
  const std::string mark = NewMark();
  Started started = Start("tells_signals", mark, 2);
  client_.Send(PacketType::kTerm, started.attempt);
  const std::string text = ReadAll(started.out.get());
  EXPECT_TRUE(text == "term\nterm\ncont\ncont\n" || text == "term\ncont\nterm\ncont\n") << text;
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, started.attempt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(TollOf(*gone).killed, 0u);
}

TEST_F(WardenTest, SigtermEndsAStoppedProcess) {
  const std::string mark = NewMark();
  Started started = Start("stops_itself", mark, 2);
  const uint64_t attempt = started.attempt;
  client_.Send(PacketType::kTerm, attempt);
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(TollOf(*gone).killed, 0u);
  EXPECT_THAT(FindMarked(mark), IsEmpty());
}

TEST_F(WardenTest, WhatATerminatedLeaderLeavesKeepsItsGraceUntilKill) {
  const std::string mark = NewMark();
  Started started = Start("stubborn_child", mark, 2);
  const uint64_t attempt = started.attempt;
  client_.Send(PacketType::kTerm, attempt);
  const std::optional<Packet> exited = client_.Await(PacketType::kExited, attempt);
  ASSERT_TRUE(exited);
  EXPECT_EQ(WTERMSIG(exited->code), SIGTERM);
  EXPECT_EQ(FindMarked(mark).size(), 1u);
  client_.Send(PacketType::kKill, attempt);
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->count, 1u);
  EXPECT_EQ(TollOf(*gone).terminated, 1u);
  EXPECT_EQ(TollOf(*gone).killed, 1u);
  EXPECT_THAT(FindMarked(mark), IsEmpty());
}

TEST_F(WardenTest, KillWhileSpawningLeavesNothing) {
  const std::string mark = NewMark();
  for (int i = 0; i < 50; ++i) {
    const uint64_t attempt = client_.Spawn(Escapee("wide", mark));
    client_.Send(i % 2 == 0 ? PacketType::kKill : PacketType::kTerm, attempt);
    client_.Send(PacketType::kKill, attempt);
    ASSERT_TRUE(client_.Await(PacketType::kGone, attempt));
    ASSERT_THAT(FindMarked(mark), IsEmpty());
  }
}

TEST_F(WardenTest, HundredsAtOnceAreKilledAtOnce) {
  constexpr int kAttempts = 200;
  const std::string mark = NewMark();
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  std::vector<uint64_t> attempts;
  for (int i = 0; i < kAttempts; ++i) {
    attempts.push_back(
        client_.Spawn(Escapee("setsid", mark), {in.reader.get(), out.writer.get(), -1}));
  }
  out.writer.reset();
  ReadLines(out.reader.get(), 2 * kAttempts);
  for (const uint64_t attempt : attempts) client_.Send(PacketType::kKill, attempt);
  for (const uint64_t attempt : attempts) {
    ASSERT_TRUE(client_.Await(PacketType::kGone, attempt));
  }
  EXPECT_THAT(FindMarked(mark), IsEmpty());
}

TEST_F(WardenTest, GoesOnReapingForAServerThatDoesNotRead) {
  constexpr int kAttempts = 600;  // a message for each: more than a socket holds
  std::vector<uint64_t> attempts;
  for (int i = 0; i < kAttempts; ++i) attempts.push_back(client_.Spawn(Shell("exit 0")));
  const auto end = std::chrono::steady_clock::now() + kPatience;
  bool all_reaped = false;
  bool seen = false;
  while (!all_reaped && std::chrono::steady_clock::now() < end) {
    bool child = false;
    const pid_t warden = client_.warden().pid;
    VisitDescendants(warden, [&](const ProcessInfo& process) {
      seen = true;
      child |= process.dead || process.parent != warden;  // no reaper that lives
    });
    // Spawning has begun, nothing is left to spawn, nothing is left to reap.
    pollfd writable = {client_.socket(), POLLOUT, 0};
    all_reaped = !child && seen && poll(&writable, 1, 1) == 1;
  }
  EXPECT_TRUE(all_reaped);
  for (const uint64_t attempt : attempts) {
    ASSERT_TRUE(client_.Await(PacketType::kGone, attempt));
  }
}

TEST_F(WardenTest, RefusesMalformedSpecsAndGoesOn) {
  const UniqueFd pipe_end = MakePipe().reader;
  const UniqueFd unsealed(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::string bytes = EncodeSpec(Shell("true"));
  ASSERT_EQ(write(unsealed.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  const UniqueFd garbage(memfd_create("garbage", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(garbage.get(), "garbage", 7), 7);
  ASSERT_EQ(fcntl(garbage.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE),
            0);
  uint64_t attempt = 1000;
  for (const int fd : {pipe_end.get(), unsealed.get(), garbage.get()}) {
    Packet packet;
    packet.type = PacketType::kSpawn;
    packet.attempt = ++attempt;
    client_.SendWithFds(packet, std::vector<int>{fd});
    const std::optional<Packet> failed = client_.Await(PacketType::kSpawnFailed, attempt);
    ASSERT_TRUE(failed);
    EXPECT_EQ(FailedStep(*failed), Step::kSpec);
  }
  EXPECT_EQ(Run(Shell("exit 0")), 0);
}

TEST_F(WardenTest, RefusesMalformedPacketsAndGoesOn) {
  Packet packet;
  packet.type = PacketType::kSpawn;
  packet.attempt = 1000;
  client_.SendWithFds(packet, {});
  const std::optional<Packet> failed = client_.Await(PacketType::kSpawnFailed, 1000);
  ASSERT_TRUE(failed);
  EXPECT_EQ(FailedStep(*failed), Step::kDescriptors);
  packet.type = static_cast<PacketType>(200);
  client_.SendWithFds(packet, {});
  client_.Send(PacketType::kTerm, 12345);
  client_.Send(PacketType::kKill, 12345);
  EXPECT_EQ(send(client_.socket(), "short", 5, 0), 5);
  const std::string long_packet(100, 'x');
  EXPECT_EQ(send(client_.socket(), long_packet.data(), long_packet.size(), 0), 100);
  EXPECT_EQ(Run(Shell("exit 0")), 0);
}

TEST_F(WardenTest, HoldsNoDescriptorOfAnEndedAttempt) {
  EXPECT_EQ(Run(Shell("exit 0")), 0);
  AwaitIdle();
  const size_t before = CountOpenFiles(client_.warden().pid);
  Pipe pipe = MakePipe();
  for (int i = 0; i < 20; ++i) {
    Run(Shell("exit 0"), {pipe.reader.get(), pipe.writer.get(), pipe.writer.get()});
    ProcessSpec missing;
    missing.argv = {"/no/such/program"};
    ASSERT_TRUE(Failure(missing));
  }
  AwaitIdle();
  EXPECT_EQ(CountOpenFiles(client_.warden().pid), before);
}

TEST_F(WardenTest, AReaperHoldsNothingOfTheOthers) {
  Pipe pipe = MakePipe();
  std::optional<Packet> spawned;
  for (int i = 0; i < 5; ++i) {
    const uint64_t attempt =
        client_.Spawn(Shell("read line"), {pipe.reader.get(), pipe.writer.get(), -1});
    spawned = client_.Await(PacketType::kSpawned, attempt);
    ASSERT_TRUE(spawned);
  }
  // Standard descriptors, the socket to the warden, the signals; the warden's cgroup and the
  // attempt's own.
  const size_t cgroups = LevelsHere().back() == Level::kCgroup ? 2 : 0;
  EXPECT_EQ(CountOpenFiles(ReadProcess(spawned->pid)->parent), 5u + cgroups);
}

TEST_F(WardenTest, AReaperTakesOneAttemptAfterTheOther) {
  const pid_t reaper = ReaperOf(Shell("read line"));
  EXPECT_EQ(ReaperOf(Shell("read line; exit 1")), reaper);
  ProcessSpec missing;
  missing.argv = {"/no/such/program"};
  ASSERT_TRUE(Failure(missing));
  EXPECT_EQ(ReaperOf(Shell("read line")), reaper);
}

TEST_F(WardenTest, AReaperThatHadToKillEnds) {
  Started killed = Start("plain", NewMark(), 1);
  client_.Send(PacketType::kKill, killed.attempt);
  ASSERT_TRUE(client_.Await(PacketType::kGone, killed.attempt));
  AwaitReapers(0);
  EXPECT_EQ(Run(Shell("exit 0")), 0);
}

TEST_F(WardenTest, WhatAnAttemptUsedIsNotCountedForTheNextOfItsReaper) {
  constexpr uint64_t kBytes = 50'000'000;
  const auto usage = [&](const std::string& script) {
    return UsageOf(*client_.Await(PacketType::kGone, client_.Spawn(Shell(script))));
  };
  // Keeps all that it reads, below a shell that stays.
  const Usage big = usage("head -c " + std::to_string(kBytes) + " /dev/zero | tail -n 1; exit 0");
  EXPECT_GT(big.max_rss_bytes, kBytes);
  EXPECT_LT(usage("exit 0").max_rss_bytes, kBytes);
}

TEST_F(WardenTest, FewReapersWithoutAnAttemptAreKept) {
  Pipe in = MakePipe();
  std::vector<uint64_t> attempts;
  for (int i = 0; i < 40; ++i) {
    attempts.push_back(client_.Spawn(Shell("read line"), {in.reader.get(), -1, -1}));
    ASSERT_TRUE(client_.Await(PacketType::kSpawned, attempts.back()));
  }
  EXPECT_EQ(Reapers().size(), attempts.size());
  in.writer.reset();
  for (const uint64_t attempt : attempts) {
    ASSERT_TRUE(client_.Await(PacketType::kGone, attempt));
  }
  AwaitReapers(16);
}

TEST_F(WardenTest, TheDeathOfAReaperWithoutAnAttemptHarmsNobody) {
  const pid_t reaper = ReaperOf(Shell("read line"));
  AwaitReapers(1);
  kill(reaper, SIGKILL);
  AwaitReapers(0);
  EXPECT_EQ(Run(Shell("exit 0")), 0);
  client_.Send(PacketType::kStats, 0);
  EXPECT_EQ(CountersOf(*client_.Await(PacketType::kStats)).reapers_lost, 0u);
}

TEST_F(WardenTest, DrainKillsReportsAndEnds) {
  Pipe pipe = MakePipe();
  const uint64_t attempt = client_.Spawn(Shell("read line"), {pipe.reader.get(), -1, -1});
  ASSERT_TRUE(client_.Await(PacketType::kSpawned, attempt));
  client_.Send(PacketType::kDrain, 0);
  const uint64_t late = client_.Spawn(Shell("true"));
  EXPECT_TRUE(client_.Await(PacketType::kGone, attempt));
  const std::optional<Packet> failed = client_.Await(PacketType::kSpawnFailed, late);
  if (failed) EXPECT_EQ(failed->code, ESHUTDOWN);
  EXPECT_TRUE(client_.AwaitWardenEnd());
}

TEST_F(WardenTest, CountsAttempts) {
  EXPECT_EQ(Run(Shell("exit 0")), 0);
  ProcessSpec missing;
  missing.argv = {"/no/such/program"};
  ASSERT_TRUE(Failure(missing));
  client_.Send(PacketType::kStats, 0);
  const std::optional<Packet> stats = client_.Await(PacketType::kStats);
  ASSERT_TRUE(stats);
  EXPECT_EQ(CountersOf(*stats).spawned, 1u);
  EXPECT_EQ(CountersOf(*stats).failed, 1u);
  EXPECT_EQ(CountersOf(*stats).reapers_lost, 0u);
}

TEST_F(WardenTest, IgnoresTheSignalsOfATerminal) {
  ASSERT_TRUE(client_.Await(PacketType::kHello));
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1}) {
    kill(client_.warden().pid, signal);
  }
  EXPECT_EQ(Run(Shell("exit 0")), 0);
}

// A reaper whose parent, this process, does with its end of the socket as a warden does.
class ReaperTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    end_ = UniqueFd(ends[0]);
    UniqueFd theirs(ends[1]);
    run_cgroup_ = testing::TempDir() + NewMark();
    ASSERT_TRUE(std::filesystem::create_directory(run_cgroup_));
    reaper_ = fork();
    ASSERT_GE(reaper_, 0);
    if (reaper_ > 0) return;
    ReaperOptions options;
    options.control = std::move(theirs);
    options.run_cgroup = run_cgroup_;
    RunReaper(std::move(options));
    _exit(0);
  }
  void TearDown() override { std::filesystem::remove(run_cgroup_); }

  UniqueFd end_;
  std::string run_cgroup_;  // what can be removed as one
  pid_t reaper_ = -1;
};

TEST_F(ReaperTest, LeavesTheCgroupToALivingWarden) {
  ASSERT_EQ(shutdown(end_.get(), SHUT_WR), 0);
  ASSERT_EQ(waitpid(reaper_, nullptr, 0), reaper_);
  EXPECT_TRUE(std::filesystem::exists(run_cgroup_));
}

TEST_F(ReaperTest, RemovesTheCgroupOfADyingWardenThatIsStillItsParent) {
  end_.reset();
  ASSERT_EQ(waitpid(reaper_, nullptr, 0), reaper_);
  EXPECT_FALSE(std::filesystem::exists(run_cgroup_));
}

}  // namespace
}  // namespace nursery::warden
