// Limits of whole attempts: what is written to a leaf and read from it, with a plain directory in
// its place, and what comes of them, where the machine has the controllers.
#include "server/warden/tree_limits.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "server/warden/cgroup.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

TreeLimits Limits(std::optional<uint64_t> memory, std::optional<uint64_t> pids,
                  std::optional<uint64_t> cpu_weight) {
  return {memory, pids, cpu_weight};
}

constexpr TreeLimitSet kAll = 7;

class LeafFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    const UniqueFd parent(open(testing::TempDir().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string name = NewMark();
    path_ = testing::TempDir() + "/" + name;
    leaf_ = Cgroup::Make(parent.get(), name);
    ASSERT_TRUE(leaf_.valid());
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void Put(const std::string& file, const std::string& text = "") const {
    std::ofstream(path_ + "/" + file) << text;
  }
  std::string Get(const std::string& file) const {
    std::ifstream stream(path_ + "/" + file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void PutKnobs() const {
    for (const char* file :
         {"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.weight"}) {
      Put(file);
    }
  }

  std::string path_;
  Cgroup leaf_;
};

TEST_F(LeafFilesTest, EachLimitHasItsFile) {
  PutKnobs();
  ASSERT_FALSE(SetTreeLimits(leaf_, Limits(1 << 20, 33, 7), kAll));
  EXPECT_EQ(Get("memory.max"), "1048576");
  EXPECT_EQ(Get("memory.swap.max"), "0");
  EXPECT_EQ(Get("memory.oom.group"), "1");
  EXPECT_EQ(Get("pids.max"), "33");
  EXPECT_EQ(Get("cpu.weight"), "7");
}

TEST_F(LeafFilesTest, WhatIsNotAskedForStaysAsItIs) {
  PutKnobs();
  ASSERT_FALSE(SetTreeLimits(leaf_, Limits({}, 33, {}), kAll));
  EXPECT_EQ(Get("memory.max") + Get("memory.swap.max") + Get("memory.oom.group"), "");
  EXPECT_EQ(Get("pids.max"), "33");
  EXPECT_EQ(Get("cpu.weight"), "");
}

TEST_F(LeafFilesTest, WhatDoesNotHoldIsNotTried) {
  EXPECT_FALSE(SetTreeLimits(leaf_, Limits(1, 2, 3), 0));
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST_F(LeafFilesTest, AKernelWithoutSwapHasNothingToForbid) {
  Put("memory.max");
  Put("memory.oom.group");
  EXPECT_FALSE(SetTreeLimits(leaf_, Limits(4096, {}, {}), kAll));
  EXPECT_EQ(Get("memory.oom.group"), "1");
}

TEST_F(LeafFilesTest, TheLimitWhoseFileIsNotThereIsNamed) {
  EXPECT_EQ(SetTreeLimits(leaf_, Limits({}, 2, {}), kAll), TreeLimit::kPids);
  EXPECT_EQ(errno, ENOENT);
  Put("memory.max");
  EXPECT_EQ(SetTreeLimits(leaf_, Limits(4096, 2, {}), kAll), TreeLimit::kMemory);
}

TEST_F(LeafFilesTest, WhatHoldsIsWhatIsHandedOn) {
  EXPECT_EQ(HeldBelow(leaf_), 0);
  Put("cgroup.subtree_control", "cpuset memory pids\n");
  const TreeLimitSet held = HeldBelow(leaf_);
  EXPECT_TRUE(Contains(held, TreeLimit::kMemory));
  EXPECT_TRUE(Contains(held, TreeLimit::kPids));
  EXPECT_FALSE(Contains(held, TreeLimit::kCpuWeight)) << "cpuset is not cpu";
  Put("cgroup.subtree_control", "cpu\n");
  EXPECT_EQ(HeldBelow(leaf_), SetOf(Limits({}, {}, 1)));
  EXPECT_EQ(HeldBelow(Cgroup()), 0);
}

TEST_F(LeafFilesTest, TellsWhetherTheKernelKilledForMemory) {
  EXPECT_FALSE(ReadMemoryFacts(leaf_).out_of_memory);
  EXPECT_EQ(ReadMemoryFacts(leaf_).peak_bytes, 0u);
  // Being at the limit, and what another counter tells, is not being killed.
  Put("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 0\noom_group_kill 4\n");
  Put("memory.peak", "16777216\n");
  EXPECT_FALSE(ReadMemoryFacts(leaf_).out_of_memory);
  EXPECT_EQ(ReadMemoryFacts(leaf_).peak_bytes, 16777216u);
  Put("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n");
  EXPECT_TRUE(ReadMemoryFacts(leaf_).out_of_memory);
  EXPECT_TRUE(ReadMemoryFacts(leaf_).by_own_limit);
  Put("memory.events", "oom_kill 1");
  EXPECT_TRUE(ReadMemoryFacts(leaf_).out_of_memory);
}

TEST_F(LeafFilesTest, TellsALimitAboveFromItsOwn) {
  Put("memory.events", "low 0\nhigh 0\nmax 12\noom 0\noom_kill 2\n");
  EXPECT_TRUE(ReadMemoryFacts(leaf_).out_of_memory);
  EXPECT_FALSE(ReadMemoryFacts(leaf_).by_own_limit);
}

TEST(TreeLimitTest, AreCalledAsInAJob) {
  EXPECT_EQ(TreeLimitName(TreeLimit::kMemory), "memory");
  EXPECT_EQ(TreeLimitName(TreeLimit::kPids), "pids");
  EXPECT_EQ(TreeLimitName(TreeLimit::kCpuWeight), "cpu_weight");
  EXPECT_EQ(ControllerName(TreeLimit::kCpuWeight), "cpu");
}

TEST(TreeLimitTest, TheOneThatCannotBeSetIsNamed) {
  Packet failed;
  failed.detail = static_cast<uint8_t>(Step::kTreeLimits);
  failed.count = static_cast<uint32_t>(TreeLimit::kPids);
  EXPECT_EQ(FailureText(failed), "cannot set the limit 'pids' of the attempt's cgroup");
}

ProcessSpec Shell(const std::string& script, const TreeLimits& limits) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  spec.tree_limits = limits;
  return spec;
}

class LevelLimitsTest : public testing::TestWithParam<Level> {};

// At every level: what was asked for either holds, or is told as not held.
TEST_P(LevelLimitsTest, WhatDoesNotHoldIsToldAtTheEnd) {
  TestClient client({}, GetParam());
  const std::optional<Packet> hello = client.Await(PacketType::kHello);
  ASSERT_TRUE(hello);
  if (GetParam() != Level::kCgroup) EXPECT_EQ(hello->flags, 0);
  const std::pair<TreeLimits, TreeLimitSet> trials[] = {
      {Limits(1 << 30, 100, 50), kAll}, {Limits({}, 100, {}), 2}, {Limits({}, {}, {}), 0}};
  for (const auto& [limits, asked] : trials) {
    const uint64_t attempt = client.Spawn(Shell("exit 3", limits));
    const std::optional<Packet> exited = client.Await(PacketType::kExited, attempt);
    ASSERT_TRUE(exited);
    EXPECT_EQ(WEXITSTATUS(exited->code), 3);
    const std::optional<Packet> gone = client.Await(PacketType::kGone, attempt);
    ASSERT_TRUE(gone);
    EXPECT_EQ(gone->code, asked & ~hello->flags);
    EXPECT_FALSE(MemoryFactsOf(*gone).out_of_memory);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LevelLimitsTest, testing::ValuesIn(LevelsHere()),
                         [](const auto& info) { return std::string(LevelName(info.param)); });

// With the controllers of this machine.
class HeldLimitsTest : public testing::Test {
 protected:
  void Need(TreeLimit limit) {
    const std::optional<Packet> hello = client_.Await(PacketType::kHello);
    ASSERT_TRUE(hello);
    if (Contains(hello->flags, limit)) return;
    GTEST_SKIP() << "cgroups of version 2 have no controller '" << ControllerName(limit)
                 << "' here, or this process's cannot hand it on";
  }

  TestClient client_;
};

TEST_F(HeldLimitsTest, WhatExceedsItsMemoryIsKilledAsAWhole) {
  ASSERT_NO_FATAL_FAILURE(Need(TreeLimit::kMemory));
  if (IsSkipped()) return;
  // The shell itself takes little: it dies with its child.
  const uint64_t attempt = client_.Spawn(
      Shell("head -c 200000000 /dev/zero | tail; exec sleep 60", Limits(32 << 20, {}, {})));
  const std::optional<Packet> exited = client_.Await(PacketType::kExited, attempt);
  ASSERT_TRUE(exited);
  EXPECT_EQ(WTERMSIG(exited->code), SIGKILL);
  EXPECT_EQ(exited->flags & kKilledByUs, 0);
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  EXPECT_TRUE(MemoryFactsOf(*gone).out_of_memory);
  EXPECT_LE(MemoryFactsOf(*gone).peak_bytes, 32u << 20);
}

TEST_F(HeldLimitsTest, MoreProcessesThanAllowedDoNotStart) {
  ASSERT_NO_FATAL_FAILURE(Need(TreeLimit::kPids));
  if (IsSkipped()) return;
  const std::string script = "sleep 60 & sleep 60 & sleep 60 & sleep 60 & exit 0";
  const uint64_t attempt = client_.Spawn(Shell(script, Limits({}, 3, {})));
  const std::optional<Packet> exited = client_.Await(PacketType::kExited, attempt);
  ASSERT_TRUE(exited);
  EXPECT_EQ(WEXITSTATUS(exited->code), 2) << "the shell cannot fork";
  const std::optional<Packet> gone = client_.Await(PacketType::kGone, attempt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->count, 2u);
}

TEST_F(HeldLimitsTest, TheWeightIsThatOfTheLeaf) {
  ASSERT_NO_FATAL_FAILURE(Need(TreeLimit::kCpuWeight));
  if (IsSkipped()) return;
  Pipe in = MakePipe();
  const uint64_t attempt =
      client_.Spawn(Shell("read line", Limits({}, {}, 7)), {in.reader.get(), -1, -1});
  ASSERT_TRUE(client_.Await(PacketType::kSpawned, attempt));
  const Cgroup leaf = Cgroup::Open(client_.run_cgroup() + "/" + LeafName(attempt));
  EXPECT_EQ(leaf.Read("cpu.weight"), "7\n");
  in.writer.reset();
  EXPECT_TRUE(client_.Await(PacketType::kGone, attempt));
}

}  // namespace
}  // namespace nursery::warden
