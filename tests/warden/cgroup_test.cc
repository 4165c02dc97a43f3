#include "server/warden/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "server/warden/run_cgroup.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kUnified[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kHybrid[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(FindCgroupTest, FindsTheMountWhereverItIs) {
  EXPECT_EQ(FindCgroup(kUnified, "0::/user.slice/a.scope\n").directory,
            "/sys/fs/cgroup/user.slice/a.scope");
  EXPECT_EQ(FindCgroup(kUnified, "0::/\n").directory, "/sys/fs/cgroup");
  EXPECT_EQ(FindCgroup(kHybrid, "4:memory:/x\n0::/y\n").directory, "/sys/fs/cgroup/unified/y");
}

TEST(FindCgroupTest, KnowsAMountOfAPartOfTheHierarchy) {
  const std::string part = "41 31 0:38 /box /cg\\040two rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(FindCgroup(part, "0::/box/a\n").directory, "/cg two/a");
  EXPECT_EQ(FindCgroup(part, "0::/box\n").directory, "/cg two");
  const CgroupPlace beside = FindCgroup(part, "0::/boxes/a\n");
  EXPECT_THAT(beside.directory, IsEmpty());
  EXPECT_THAT(beside.why_not, HasSubstr("no mount"));
}

TEST(FindCgroupTest, SaysWhyThereIsNone) {
  EXPECT_THAT(FindCgroup(kHybrid, "4:memory:/x\n").why_not, HasSubstr("in no cgroup"));
  EXPECT_THAT(FindCgroup(kUnified, "0::/../other\n").why_not, HasSubstr("out of sight"));
  EXPECT_THAT(FindCgroup("22 1 254:0 / / rw - ext4 x rw\n", "0::/\n").why_not,
              HasSubstr("no mount"));
  EXPECT_THAT(FindCgroup("", "").directory, IsEmpty());
  EXPECT_THAT(FindCgroup("cut off", "0::").directory, IsEmpty());
}

TEST(CgroupTest, IsNoneWhereThereIsNone) {
  EXPECT_FALSE(Cgroup::Open("/no/such/directory").valid());
  EXPECT_FALSE(Cgroup::Open(testing::TempDir()).valid());
  EXPECT_FALSE(Cgroup().populated());
  EXPECT_FALSE(Cgroup().Kill());
  EXPECT_TRUE(RemoveCgroup("/no/such/directory"));
}

class RealCgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    const CgroupPlace place = FindOwnCgroup();
    if (place.directory.empty()) GTEST_SKIP() << "no cgroups: " << place.why_not;
    absl::StatusOr<std::string> path = MakeRunCgroup(place.directory);
    ASSERT_TRUE(path.ok()) << path.status();
    path_ = *path;
    base_ = place.directory;
  }
  void TearDown() override { EXPECT_TRUE(RemoveCgroup(path_)); }

  std::string path_ = "/no/such/directory";
  std::string base_;
};

TEST_F(RealCgroupTest, KillsWhatIsInItAndBelow) {
  const Cgroup run = Cgroup::Open(path_);
  const Cgroup below = Cgroup::Make(run.fd(), "below");
  const Cgroup deep = Cgroup::Make(below.fd(), "deep");
  for (const Cgroup* each : {&below, &deep}) {
    const pid_t pid = each->Fork();
    if (pid == 0) {
      while (true) pause();
    }
    ASSERT_GT(pid, 0);
  }
  EXPECT_TRUE(run.populated());
  EXPECT_EQ(below.processes().size(), 1u);
  EXPECT_FALSE(RemoveCgroup(path_));
  EXPECT_TRUE(run.Kill());
  int status = 0;
  EXPECT_GT(waitpid(-1, &status, 0), 0);
  EXPECT_GT(waitpid(-1, &status, 0), 0);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_FALSE(run.populated());
  EXPECT_TRUE(RemoveCgroup(path_));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(RealCgroupTest, IsFreshAtEveryStart) {
  const absl::StatusOr<std::string> other = MakeRunCgroup(base_);
  ASSERT_TRUE(other.ok());
  EXPECT_NE(*other, path_);
  EXPECT_TRUE(RemoveCgroup(*other));
  // Whoever still has to kill that one must not find this one.
  const absl::StatusOr<std::string> next = MakeRunCgroup(base_);
  ASSERT_TRUE(next.ok());
  EXPECT_NE(*next, *other);
  EXPECT_TRUE(RemoveCgroup(*next));
  EXPECT_EQ(MakeRunCgroup("/no/such/directory").status().code(), absl::StatusCode::kNotFound);
}

// What is cloned from a cgroup that was killed once dies at birth on newer kernels: a process then
// has to enter its leaf by itself.
TEST_F(RealCgroupTest, AServerInOneThatWasKilledStartsProcessesAllTheSame) {
  const Cgroup killed = Cgroup::Open(path_);
  ASSERT_TRUE(killed.Kill());
  ASSERT_TRUE(EnterCgroup(killed.fd()));
  {
    TestClient client({}, Level::kCgroup);
    EXPECT_THAT(client.run_cgroup(), testing::StartsWith(path_));
    const std::optional<Packet> hello = client.Await(PacketType::kHello);
    ASSERT_TRUE(hello);
    EXPECT_EQ(static_cast<Level>(hello->detail), Level::kCgroup);
    ProcessSpec spec;
    spec.argv = {"/bin/sh", "-c", "sleep 60 & exit 3"};
    const uint64_t attempt = client.Spawn(spec);
    const std::optional<Packet> exited = client.Await(PacketType::kExited, attempt);
    ASSERT_TRUE(exited);
    EXPECT_EQ(WEXITSTATUS(exited->code), 3);
    const std::optional<Packet> gone = client.Await(PacketType::kGone, attempt);
    ASSERT_TRUE(gone);
    EXPECT_EQ(gone->count, 1u);
  }
  EXPECT_TRUE(EnterCgroup(Cgroup::Open(base_).fd()));
}

}  // namespace
}  // namespace nursery::warden
