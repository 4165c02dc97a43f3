#include "server/engine/remove_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace nursery::engine {
namespace {

namespace fs = std::filesystem;

class RemoveTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(parent_.data()), nullptr);
    root_ = parent_ + "/root";
    fs::create_directory(root_);
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(parent_)); }

  void Put(const std::string& file) const { std::ofstream(root_ + "/" + file) << "x"; }
  bool is_there() const { return fs::exists(fs::symlink_status(root_)); }

  std::string parent_ = testing::TempDir() + "/tree-XXXXXX";
  std::string root_;
};

TEST_F(RemoveTreeTest, RemovesWhatIsInIt) {
  fs::create_directories(root_ + "/a/b/c");
  fs::create_directories(root_ + "/a/0/1");
  for (const char* file : {"file", "a/file", "a/b/c/file", "a/0/file"}) Put(file);
  EXPECT_TRUE(RemoveTree(root_));
  EXPECT_FALSE(is_there());
}

TEST_F(RemoveTreeTest, WhatIsNotThereIsRemoved) {
  EXPECT_TRUE(RemoveTree(root_));
  EXPECT_TRUE(RemoveTree(root_));
}

TEST_F(RemoveTreeTest, LeavesAloneWhatIsMountedThere) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, which takes root";
  const std::string other = parent_ + "/other";
  fs::create_directories(other + "/sub");
  std::ofstream(other + "/file") << "x";
  fs::permissions(other, fs::perms::owner_read | fs::perms::owner_exec);
  const std::string places[] = {root_ + "/mount", root_ + "/a/b/mount"};
  for (const std::string& place : places) {
    fs::create_directories(place);
    if (mount(other.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) != 0)
      GTEST_SKIP() << "no mounts here";
  }
  EXPECT_FALSE(RemoveTree(root_));
  EXPECT_TRUE(fs::exists(other + "/file") && fs::exists(other + "/sub"));
  EXPECT_EQ(fs::status(other).permissions(), fs::perms::owner_read | fs::perms::owner_exec);
  // Handed up it may have been, but it is still mounted.
  while (is_there() && !RemoveTree(root_)) {
    for (const fs::directory_entry& each : fs::recursive_directory_iterator(root_)) {
      umount2(each.path().c_str(), MNT_DETACH);
    }
  }
  EXPECT_FALSE(is_there());
  EXPECT_TRUE(fs::exists(other + "/file"));
}

TEST_F(RemoveTreeTest, FollowsNoLink) {
  const std::string other = parent_ + "/other";
  fs::create_directory(other);
  std::ofstream(other + "/file") << "x";
  fs::create_directories(root_ + "/a");
  fs::create_directory_symlink(other, root_ + "/link");
  fs::create_directory_symlink(other, root_ + "/a/link");
  EXPECT_TRUE(RemoveTree(root_));
  fs::create_directory_symlink(other, root_);
  EXPECT_TRUE(RemoveTree(root_));
  EXPECT_FALSE(is_there());
  EXPECT_TRUE(fs::exists(other + "/file"));
}

TEST_F(RemoveTreeTest, ADeepTreeTakesNoDescriptors) {
  constexpr int kDepth = 20'000;  // its path is far longer than one may be
  int at = open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(mkdirat(at, "d", 0700), 0);
    if (i % 1000 == 0) {
      ASSERT_EQ(mkdirat(at, "e", 0700), 0);
    }
    const int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = below;
  }
  close(at);
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  few.rlim_cur = 32;
  setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_TRUE(RemoveTree(root_));
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(is_there());
}

TEST_F(RemoveTreeTest, ForbiddenDirectoriesAreRemovedByTheirOwner) {
  if (geteuid() == 0) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string own = testing::TempDir() + "/own-" + std::to_string(getpid());
  fs::create_directories(own + "/a/b/c");
  fs::create_directories(own + "/d/e");
  for (const char* each : {"/a/b/c", "/a/b", "/a", "/d", ""}) chmod((own + each).c_str(), 0);
  EXPECT_TRUE(RemoveTree(own));
  EXPECT_FALSE(fs::exists(own));
  if (getuid() == 0) seteuid(0);
}

TEST_F(RemoveTreeTest, StopsWhenItIsLate) {
  fs::create_directories(root_ + "/a/b");
  EXPECT_FALSE(RemoveTree(root_, Clock::Steady().Now()));
  EXPECT_TRUE(is_there());
  EXPECT_TRUE(RemoveTree(root_));
}

}  // namespace
}  // namespace nursery::engine
