#include "server/warden/launcher.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "server/warden/process_tree.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

int OomScore(pid_t pid) {
  int score = -1;
  std::ifstream("/proc/" + std::to_string(pid) + "/oom_score_adj") >> score;
  return score;
}

// Polls `condition` until it gives a value.
template <typename F>
auto Await(F condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  auto result = condition();
  while (!result && std::chrono::steady_clock::now() < end) {
    sched_yield();
    result = condition();
  }
  return result;
}

// A directory that cannot be entered until Answer(), as one of a server that does not answer: a
// mount of FUSE whose program does nothing.
class HangingDirectory {
 public:
  HangingDirectory() {
    fuse_ = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    // Seen by this process and its warden only, and gone with them.
    if (!fuse_.valid() || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mkdtemp(path_.data()) == nullptr) {
      return;
    }
    const std::string options =
        "fd=" + std::to_string(fuse_.get()) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
    is_mounted_ = mount("nursery", path_.c_str(), "fuse", 0, options.c_str()) == 0;
  }
  ~HangingDirectory() {
    Answer();
    umount2(path_.c_str(), MNT_DETACH);
    rmdir(path_.c_str());
  }
  HangingDirectory(const HangingDirectory&) = delete;
  HangingDirectory& operator=(const HangingDirectory&) = delete;

  bool is_mounted() const { return is_mounted_; }
  const std::string& path() const { return path_; }
  // By an error.
  void Answer() { fuse_.reset(); }

 private:
  std::string path_ = testing::TempDir() + "/hanging-XXXXXX";
  UniqueFd fuse_;
  bool is_mounted_ = false;
};

class HangingLaunchTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!directory_.is_mounted()) GTEST_SKIP() << "FUSE cannot be mounted: " << strerror(errno);
    client_.emplace();
    ASSERT_TRUE(client_->Await(PacketType::kHello));  // its self-test starts processes, too
    ProcessSpec spec;
    spec.argv = {"/bin/true"};
    spec.cwd = directory_.path();
    attempt_ = client_->Spawn(spec);
    child_ = Await([this] { return ChildOfReaper(); }).value_or(ProcessInfo());
    // The last that it does before it enters the directory.
    ASSERT_TRUE(Await([this] { return OomScore(child_.pid) == 500; }));
  }

  // Who is on the way to become the program.
  std::optional<ProcessInfo> ChildOfReaper() {
    std::optional<ProcessInfo> child;
    const pid_t warden = client_->warden().pid;
    VisitDescendants(warden, [&](const ProcessInfo& process) {
      if (process.parent != warden && !process.dead) child = process;
    });
    return child;
  }

  HangingDirectory directory_;
  std::optional<TestClient> client_;
  uint64_t attempt_ = 0;
  ProcessInfo child_;
};

TEST_F(HangingLaunchTest, IsKilledAsAnyOther) {
  client_->Send(PacketType::kKill, attempt_);
  EXPECT_TRUE(client_->Await(PacketType::kGone, attempt_));
  EXPECT_FALSE(ReadProcess(child_.pid));
}

TEST_F(HangingLaunchTest, IsTerminatedAsAnyOther) {
  client_->Send(PacketType::kTerm, attempt_);
  // It has no program yet that could do something about it.
  directory_.Answer();
  const std::optional<Packet> failed = client_->Await(PacketType::kSpawnFailed, attempt_);
  ASSERT_TRUE(failed);
  EXPECT_EQ(static_cast<Step>(failed->detail), Step::kDirectory);
}

TEST_F(HangingLaunchTest, SaysWhatBecameOfItInTheEnd) {
  directory_.Answer();
  const std::optional<Packet> failed = client_->Await(PacketType::kSpawnFailed, attempt_);
  ASSERT_TRUE(failed);
  EXPECT_EQ(static_cast<Step>(failed->detail), Step::kDirectory);
  EXPECT_NE(failed->code, 0);
}

TEST_F(HangingLaunchTest, DoesNotMakeItsReaperTheFirstToBeKilledForMemory) {
  EXPECT_EQ(OomScore(child_.parent), OomScore(client_->warden().pid));
}

TEST_F(HangingLaunchTest, DiesWithItsReaper) {
  kill(child_.parent, SIGKILL);
  const std::optional<Packet> gone = client_->Await(PacketType::kGone, attempt_);
  ASSERT_TRUE(gone);
  EXPECT_NE(gone->flags & kReaperLost, 0);
  EXPECT_FALSE(ReadProcess(child_.pid));
}

}  // namespace
}  // namespace nursery::warden
