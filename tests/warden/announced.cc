#include "tests/warden/announced.h"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "server/warden/pidfd.h"
#include "server/warden/process_tree.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {

const std::map<std::string, int> kShapes = {{"plain", 1},        {"background", 4},
                                            {"ignores_term", 2}, {"setsid", 2},
                                            {"double_fork", 2},  {"daemon", 2},
                                            {"holds_stdout", 2}, {"chain", 2},
                                            {"stops_itself", 2}, {"zombies", 2},
                                            {"subreaper", 3},    {"wide", 25},
                                            {"fifty", 50},       {"clean_environment", 2},
                                            {"fork_storm", 9},   {"floods", 2},
                                            {"setuid", 2},       {"dead_main_thread", 2}};

const std::set<std::string> kEndless = {"chain", "fork_storm"};

ProcessSpec EscapeeSpec(const std::string& shape, const std::string& mark) {
  ProcessSpec spec;
  spec.argv = {BuiltBinary("../tests/escapee"), shape, mark};
  spec.env = {std::string(kMarkVariable) + mark + ":1"};
  if (const char* setuid = std::getenv("SETUID"); shape == "setuid" && setuid != nullptr) {
    spec.env.push_back(std::string("SETUID=") + setuid);
    spec.no_new_privs = false;
  }
  return spec;
}

bool Announced::Read(int fd, int count, const std::string& mark) {
  const std::string text = ReadLines(fd, count);
  if (std::count(text.begin(), text.end(), '\n') != count) return false;
  for (size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
    pids_.push_back(std::atoi(text.c_str() + begin));
    pidfds_.push_back(OpenPidfd(pids_.back()));
  }
  std::vector<ProcessInfo> live;
  for (const pid_t pid : pids_) {
    const std::optional<ProcessInfo> process = ReadProcess(pid);
    if (process && !process->dead) live.push_back(*process);
  }
  const std::vector<std::string> commands = CommandLines(live);
  for (size_t i = 0; i < live.size(); ++i) {
    // With its first thread a process loses its command line in /proc, but not its name.
    const bool marked = commands[i].find(mark) != std::string::npos;
    alive_ += marked || live[i].name == "escapee" ? 1 : 0;
  }
  return true;
}

bool Announced::AllAlive(const std::string& shape) const {
  // A process of the chain lives too briefly to be looked at after its announcement.
  const int expected = kEndless.contains(shape) ? 1 : kShapes.at(shape);
  return alive_ >= expected && Survivors().size() >= static_cast<size_t>(expected);
}

bool Announced::AwaitAtMost(size_t count) const {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (Survivors().size() > count && std::chrono::steady_clock::now() < end) sched_yield();
  return Survivors().size() <= count;
}

std::vector<pid_t> Announced::Survivors() const {
  std::vector<pid_t> survivors;
  for (size_t i = 0; i < pids_.size(); ++i) {
    pollfd ended = {pidfds_[i].get(), POLLIN, 0};
    if (pidfds_[i].valid() && poll(&ended, 1, 0) == 0) survivors.push_back(pids_[i]);
  }
  return survivors;
}

}  // namespace nursery::warden
