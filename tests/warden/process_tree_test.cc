#include "server/warden/process_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "server/warden/marks.h"
#include "server/warden/memory_files.h"
#include "server/warden/survivors.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

// A made-up /proc.
class FakeProc {
 public:
  FakeProc() {
    std::string path = testing::TempDir() + "/procXXXXXX";
    root_ = mkdtemp(path.data());
  }
  ~FakeProc() { std::filesystem::remove_all(root_); }

  const std::string& root() const { return root_; }

  void Add(pid_t pid, pid_t parent, const std::string& name = "x", char state = 'S',
           int threads = 1) {
    const std::string id = std::to_string(pid);
    std::filesystem::create_directories(root_ + "/" + id + "/task");
    std::ofstream(root_ + "/" + id + "/stat")
        << id << " (" << name << ") " << state << " " << parent << " 77 6 7 8 9 10 11 12 13 14 15 "
        << "16 17 18 19 " << threads << " 21 4242 23\n";
  }
  void AddChildrenFile(pid_t pid, pid_t thread, const std::string& children) {
    const std::string directory =
        root_ + "/" + std::to_string(pid) + "/task/" + std::to_string(thread);
    std::filesystem::create_directories(directory);
    std::ofstream(directory + "/children") << children;
  }

  std::vector<pid_t> Descendants(pid_t root, const std::function<bool(pid_t)>& skip = nullptr) {
    std::vector<pid_t> pids;
    VisitDescendants(
        root, [&](const ProcessInfo& process) { pids.push_back(process.pid); }, skip, root_);
    return pids;
  }

 private:
  std::string root_;
};

TEST(ProcessTreeTest, ReadsAProcessWhoseNameLooksLikeFields) {
  FakeProc proc;
  proc.Add(5, 3, "a) R 1 (b", 'S');
  const std::optional<ProcessInfo> process = ReadProcess(5, proc.root());
  ASSERT_TRUE(process);
  EXPECT_EQ(process->name, "a) R 1 (b");
  EXPECT_EQ(process->parent, 3);
  EXPECT_EQ(process->group, 77);
  EXPECT_EQ(process->start_time, 4242u);
  EXPECT_EQ(process->state, 'S');
  EXPECT_FALSE(process->dead);
}

TEST(ProcessTreeTest, ReadsThisProcess) {
  const std::optional<ProcessInfo> process = ReadProcess(getpid());
  ASSERT_TRUE(process);
  EXPECT_EQ(process->parent, getppid());
  EXPECT_EQ(process->group, getpgrp());
  EXPECT_GT(process->start_time, 0u);
  EXPECT_THAT(CommandLines({*process}).at(0), testing::HasSubstr("process_tree_test"));
}

TEST(ProcessTreeTest, NamesStatesAsPeopleDo) {
  EXPECT_EQ(StateName('D'), "D (disk sleep)");
  EXPECT_EQ(StateName('X'), "X (?)");
}

TEST(ProcessTreeTest, AZombieWithRunningThreadsIsNotDead) {
  FakeProc proc;
  proc.Add(5, 3, "x", 'Z', 1);
  proc.Add(6, 3, "x", 'Z', 2);
  EXPECT_TRUE(ReadProcess(5, proc.root())->dead);
  EXPECT_FALSE(ReadProcess(6, proc.root())->dead);
}

TEST(ProcessTreeTest, FindsDescendantsByTheirParents) {
  FakeProc proc;
  proc.Add(10, 1);
  proc.Add(11, 10);
  proc.Add(12, 11);
  proc.Add(13, 1);
  EXPECT_THAT(proc.Descendants(10), testing::UnorderedElementsAre(11, 12));
}

TEST(ProcessTreeTest, FindsDescendantsByTheChildrenFilesOfAllThreads) {
  FakeProc proc;
  for (const pid_t pid : {10, 11, 12, 13, 14}) proc.Add(pid, 99);
  proc.AddChildrenFile(10, 10, "11 ");
  proc.AddChildrenFile(10, 20, "12 13 ");
  proc.AddChildrenFile(12, 12, "14 ");
  EXPECT_THAT(proc.Descendants(10), testing::UnorderedElementsAre(11, 12, 13, 14));
}

TEST(MarksTest, StandBehindEachOtherInOneVariable) {
  EXPECT_THAT(MarksIn("NURSERY_CONTAINMENT=outer:7 inner:1"),
              testing::ElementsAre("outer:7", "inner:1"));
  EXPECT_THAT(MarksIn("NURSERY_CONTAINMENT=  a:1  b:2 "), testing::ElementsAre("a:1", "b:2"));
  EXPECT_THAT(MarksIn("NURSERY_CONTAINMENT="), testing::IsEmpty());
  EXPECT_THAT(MarksIn("MY_NURSERY_CONTAINMENT=a:1"), testing::IsEmpty());
}

TEST(ProcessTreeTest, LeavesOutASkippedChildWithAllBelowIt) {
  FakeProc proc;
  proc.Add(10, 1);
  proc.Add(11, 10);
  proc.Add(12, 11);
  proc.Add(13, 10);
  const auto skip = [](pid_t pid) { return pid == 11; };
  EXPECT_THAT(proc.Descendants(10, skip), testing::ElementsAre(13));
  proc.AddChildrenFile(10, 10, "11 13 ");
  proc.AddChildrenFile(11, 11, "12 ");
  EXPECT_THAT(proc.Descendants(10, skip), testing::ElementsAre(13));
}

std::vector<ProcessInfo> Alive(int count) {
  std::vector<ProcessInfo> alive(static_cast<size_t>(count));
  for (ProcessInfo& process : alive) process.pid = getpid();
  return alive;
}

TEST(SurvivorsTest, ALongCommandIsCutOff) {
  const std::string mark = NewMark();
  const std::string argument = mark + std::string(kMaxSurvivorCommand, 'x');
  Pipe in = MakePipe();
  const pid_t child = fork();
  if (child == 0) {
    dup2(in.reader.get(), STDIN_FILENO);
    execl("/bin/cat", argument.c_str(), nullptr);
    _exit(127);
  }
  while (FindMarked(mark).empty()) sched_yield();
  const Survivors survivors = NameSurvivors({*ReadProcess(child)});
  EXPECT_EQ(survivors.named.at(0).command, argument.substr(0, kMaxSurvivorCommand));
  // As the packets tell it, of which one holds but a part of it.
  SurvivorReader reader;
  std::optional<Survivors> told;
  for (const Packet& packet :
       SurvivorPackets({*ReadProcess(child), *ReadProcess(getpid())}, 1, 0)) {
    EXPECT_FALSE(told);
    told = reader.Add(packet);
  }
  ASSERT_TRUE(told);
  EXPECT_EQ(told->named.size(), 2u);
  EXPECT_EQ(told->named.at(0).command, survivors.named.at(0).command);
  EXPECT_THAT(told->named.at(1).command, testing::HasSubstr("process_tree_test"));
  in.writer.reset();
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(MemoryFilesTest, GivesEachInOrderAndNothingForWhatCannotBeRead) {
  std::vector<std::string> texts;
  const auto take = [&](size_t i, std::string text) {
    EXPECT_EQ(i, texts.size());
    texts.push_back(std::move(text));
  };
  const std::string own = "/proc/" + std::to_string(getpid());
  ReadMemoryFiles({own + "/comm", "/no/such/file", own + "/comm", own}, 7, 1, take);
  EXPECT_THAT(texts, testing::ElementsAre("process", "", "process", ""));
}

// As where it may open no more than one file, which a socket pair is not.
TEST(MemoryFilesTest, WhereThereCanBeNoChildTheCallerReads) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = dup(STDERR_FILENO);
  close(next);
  rlimit one = limit;
  one.rlim_cur = static_cast<rlim_t>(next) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &one), 0);
  int ends[2];
  EXPECT_NE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  std::vector<std::string> texts;
  const auto take = [&](size_t, std::string text) { texts.push_back(std::move(text)); };
  const std::string own = "/proc/" + std::to_string(getpid());
  ReadMemoryFiles({own + "/comm", own + "/task/" + std::to_string(getpid()) + "/comm"}, 7, 1, take);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(texts, testing::ElementsAre("process", "process"));
}

TEST(SurvivorsTest, AReportThatBreaksOffIsNotGoneOnWith) {
  SurvivorReader reader;
  const std::vector<Packet> broken = SurvivorPackets(Alive(20), 1, 0);
  EXPECT_GE(broken.size(), kMaxNamedSurvivors);
  for (size_t i = 0; i < 3; ++i) EXPECT_FALSE(reader.Add(broken[i]));
  std::optional<Survivors> whole;
  for (const Packet& packet : SurvivorPackets(Alive(2), 1, 0)) whole = reader.Add(packet);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->named.size(), 2u);
  EXPECT_EQ(whole->total, 2u);
  for (const Packet& packet : SurvivorPackets({}, 1, 0)) whole = reader.Add(packet);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->total, 0u);
}

}  // namespace
}  // namespace nursery::warden
