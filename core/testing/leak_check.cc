#include "nursery/testing/leak_check.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "nursery/core/dump.h"

namespace nursery {
namespace {

std::set<int> OpenDescriptors() {
  std::set<int> open;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    open.insert(std::stoi(entry.path().filename().string()));
  }
  // Leaves out the descriptor that the iteration itself used.
  std::erase_if(open, [](int fd) {
    return access(("/proc/self/fd/" + std::to_string(fd)).c_str(), F_OK) != 0;
  });
  return open;
}

std::string Target(int fd) {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored).string();
}

std::vector<std::string> Children() {
  std::vector<std::string> children;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(thread.path() / "children");
    for (std::string pid; list >> pid;) children.push_back(pid);
  }
  return children;
}

}  // namespace

void LeakCheck::SetUp() { descriptors_ = OpenDescriptors(); }

std::vector<std::string> LeakCheck::FindLeaks() const {
  std::vector<std::string> leaks;
  if (LiveTasks() != 0) leaks.push_back("live tasks:\n" + DumpAllTasks());
  for (const std::string& pid : Children()) leaks.push_back("child process " + pid);
  for (int fd : OpenDescriptors()) {
    if (!descriptors_.contains(fd)) {
      leaks.push_back("descriptor " + std::to_string(fd) + " -> " + Target(fd));
    }
  }
  return leaks;
}

void LeakCheck::TearDown() {
  for (const std::string& leak : FindLeaks()) ADD_FAILURE() << "leaked: " << leak;
}

void LeakFreeTest::TearDown() {
  for (const leak::LiveTask& task : FindLeaks()) ADD_FAILURE() << "leaked: " << task;
}

}  // namespace nursery
