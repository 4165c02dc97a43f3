#include "server/actions/scratch.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <string>

namespace nursery::actions {
namespace {

class ScratchTest : public testing::Test {
 protected:
  ScratchTest() {
    EXPECT_NE(mkdtemp(parent_.data()), nullptr);
    scratch_.emplace(parent_);
  }
  ~ScratchTest() override { std::filesystem::remove_all(parent_); }

  // The directory that an attempt had, after `use` of it.
  std::string Use(const std::function<void(const std::string& path)>& use, bool reusable = true) {
    ScratchDirectory directory;
    EXPECT_TRUE(directory.Make(&*scratch_, std::nullopt).ok());
    const std::string path = directory.path();
    use(path);
    if (reusable) directory.TryReuse();
    return path;
  }

  size_t Count() const {
    const std::filesystem::directory_iterator all(parent_);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  std::string parent_ = testing::TempDir() + "scratch-XXXXXX";
  std::optional<Scratch> scratch_;
};

TEST_F(ScratchTest, OneThatNobodyHasTouchedServesTheNextAttempt) {
  const std::string first = Use([](const std::string&) {});
  EXPECT_TRUE(std::filesystem::exists(first));
  EXPECT_EQ(Use([](const std::string&) {}), first);
  EXPECT_EQ(Count(), 1);
}

TEST_F(ScratchTest, TwoAtOnceAreTwo) {
  ScratchDirectory one;
  ASSERT_TRUE(one.Make(&*scratch_, std::nullopt).ok());
  EXPECT_NE(Use([](const std::string&) {}), one.path());
}

TEST_F(ScratchTest, OneThatLooksOtherwiseIsRemoved) {
  const std::function<void(const std::string&)> uses[] = {
      [](const std::string& path) { std::ofstream(path + "/file"); },
      [](const std::string& path) { std::filesystem::create_directories(path + "/a/b"); },
      [](const std::string& path) { ASSERT_EQ(chmod(path.c_str(), 0755), 0); },
      [](const std::string& path) { ASSERT_EQ(chmod(path.c_str(), 01700), 0); },
      [](const std::string& path) {
        const int set = setxattr(path.c_str(), "user.x", "1", 1, 0);
        // A file system without attributes: then something else.
        if (set != 0) {
          ASSERT_EQ(chmod(path.c_str(), 0750), 0);
        }
      },
      [](const std::string& path) {
        std::filesystem::remove(path);
        std::filesystem::create_directory_symlink("/", path);
      },
      [](const std::string& path) { std::filesystem::remove(path); },
  };
  for (const auto& use : uses) {
    const std::string path = Use(use);
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(path)));
    EXPECT_EQ(Count(), 0);
  }
}

TEST_F(ScratchTest, OneThatSomebodyHasTouchedSinceIsNotUsed) {
  const std::string filled = Use([](const std::string&) {});
  std::filesystem::create_directory(filled + "/below");
  const std::string second = Use([](const std::string&) {});
  EXPECT_NE(second, filled);
  EXPECT_FALSE(std::filesystem::exists(filled));
  std::filesystem::remove(second);
  EXPECT_NE(Use([](const std::string&) {}), second);
}

TEST_F(ScratchTest, OneThatSomebodyMayKnowIsRemoved) {
  EXPECT_FALSE(std::filesystem::exists(Use([](const std::string&) {}, /*reusable=*/false)));
}

TEST_F(ScratchTest, OneThatWasGivenAwayIsRemoved) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give away a directory";
  constexpr unsigned kNobody = 65534;
  std::string path;
  {
    ScratchDirectory directory;
    warden::Account nobody;
    nobody.user = kNobody;
    nobody.group = kNobody;
    ASSERT_TRUE(directory.Make(&*scratch_, nobody).ok());
    path = directory.path();
    struct stat found = {};
    ASSERT_EQ(stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_uid, kNobody);
    EXPECT_FALSE(directory.TryReuse());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ScratchTest, OneThatCannotBeRemovedKeepsNoOther) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts, which takes root";
  const std::filesystem::path other = std::filesystem::path(parent_) / "other";
  std::filesystem::create_directory(other);
  bool mounted = true;
  const auto keep = [&](const std::string& path) {
    std::filesystem::create_directory(path + "/mount");
    mounted =
        mounted && mount(other.c_str(), (path + "/mount").c_str(), nullptr, MS_BIND, nullptr) == 0;
  };
  const std::string earlier = Use(keep);
  const std::string later = Use(keep);
  if (!mounted) GTEST_SKIP() << "no mounts here";
  EXPECT_TRUE(std::filesystem::exists(earlier) && std::filesystem::exists(later));
  umount((earlier + "/mount").c_str());
  // Each takes one of them in its turn.
  for (int i = 0; i < 2; ++i) Use([](const std::string&) {}, /*reusable=*/false);
  EXPECT_FALSE(std::filesystem::exists(earlier));
  EXPECT_TRUE(std::filesystem::exists(later));
  umount((later + "/mount").c_str());
  Use([](const std::string&) {}, /*reusable=*/false);
  EXPECT_FALSE(std::filesystem::exists(later));
}

TEST_F(ScratchTest, NoMoreThanTheBoundAreKept) {
  {
    std::list<ScratchDirectory> many(Scratch::kMaxSpare + 10);
    for (ScratchDirectory& each : many) {
      ASSERT_TRUE(each.Make(&*scratch_, std::nullopt).ok());
    }
    for (ScratchDirectory& each : many) each.TryReuse();
  }
  EXPECT_EQ(Count(), Scratch::kMaxSpare);
  scratch_.reset();
  EXPECT_EQ(Count(), 0);
}

TEST_F(ScratchTest, TheParentIsNamedWhereThereIsNone) {
  Scratch nowhere(parent_ + "/nowhere");
  ScratchDirectory directory;
  const absl::Status made = directory.Make(&nowhere, std::nullopt);
  EXPECT_EQ(made.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(made.message().find(parent_ + "/nowhere"), std::string::npos) << made;
}

}  // namespace
}  // namespace nursery::actions
