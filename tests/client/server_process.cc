#include "tests/client/server_process.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "nursery/core/check.h"

namespace nursery::client {

ServerProcess::ServerProcess() {
  std::string name = (std::filesystem::temp_directory_path() / "nursery-client-XXXXXX").string();
  NURSERY_CHECK(mkdtemp(name.data()) != nullptr) << name;
  directory_ = name;
  std::ofstream(directory_ / "config.yaml") << "pools: [{name: default, slots: 50}]\n";
  const char* const programs = std::getenv("NURSERY_BIN");
  NURSERY_CHECK(programs != nullptr) << "NURSERY_BIN is not set";
  const std::filesystem::path address_file = directory_ / "address";
  std::vector<std::string> words = {std::string(programs) + "/nurseryd",
                                    "--data",
                                    directory_ / "data",
                                    "--config",
                                    directory_ / "config.yaml",
                                    "--listen",
                                    address(),
                                    "--http",
                                    "127.0.0.1:0",
                                    "--address-file",
                                    address_file};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (directory_ / "log").c_str(),
                                   O_WRONLY | O_CREAT, 0600);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  NURSERY_CHECK(error == 0) << words[0] << ": error " << error;
  while (!std::filesystem::exists(address_file)) {
    NURSERY_CHECK(waitpid(pid_, nullptr, WNOHANG) == 0) << "nurseryd did not start";
    sched_yield();
  }
}

ServerProcess::~ServerProcess() {
  End(SIGTERM);
  std::filesystem::remove_all(directory_);
}

void ServerProcess::Kill() { End(SIGKILL); }

void ServerProcess::End(int signal) {
  if (pid_ == 0) return;
  kill(pid_, signal);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
  // Its warden and reapers hold copies of this lock, and tidy up until they end.
  const int lock = open((directory_ / "data/lock").c_str(), O_RDWR | O_CLOEXEC);
  NURSERY_CHECK(lock >= 0 && flock(lock, LOCK_EX) == 0) << "data/lock: error " << errno;
  close(lock);
}

}  // namespace nursery::client
