#include "server/warden/self_test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>

#include "server/warden/process_tree.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Generous, for an overloaded machine; the test takes about a millisecond.
constexpr milliseconds kPatience{5000};

// Waits for a child's death, which is what a blocked SIGCHLD tells.
void AwaitChild(milliseconds timeout) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const timespec time = {timeout.count() / 1000, timeout.count() % 1000 * 1'000'000};
  sigtimedwait(&child, nullptr, &time);
}

// Leaves its session and its parents, tells its pid and stays. Does not return.
[[noreturn]] void Escape(int report_fd) {
  setsid();
  if (fork() != 0) _exit(0);
  setsid();
  if (fork() != 0) _exit(0);
  const pid_t self = getpid();
  if (write(report_fd, &self, sizeof(self)) != sizeof(self)) _exit(1);
  while (true) pause();
}

pid_t ReadPid(int fd) {
  pollfd readable = {fd, POLLIN, 0};
  pid_t pid = -1;
  if (poll(&readable, 1, static_cast<int>(kPatience.count())) != 1 ||
      read(fd, &pid, sizeof(pid)) != sizeof(pid)) {
    return -1;
  }
  return pid;
}

bool KillUntilNoneIsLeft() {
  const Clock::time_point start = Clock::now();
  while (Clock::now() - start < kPatience) {
    KillDescendants();
    pid_t reaped;
    do {
      reaped = waitpid(-1, nullptr, WNOHANG | __WALL);
    } while (reaped > 0);
    if (reaped < 0 && errno == ECHILD) return true;
    AwaitChild(TimeToNextRound(Clock::now() - start));
  }
  return false;
}

// The process in between, as a reaper is for an attempt.
bool ContainEscapee() {
  int ends[2];
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0) return false;
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) Escape(writer.get());
  writer.reset();
  const pid_t escapee = ReadPid(reader.get());
  return KillUntilNoneIsLeft() && escapee > 0 && kill(escapee, 0) != 0 && errno == ESRCH;
}

}  // namespace

Level SelfTest() {
  const pid_t child = fork();
  if (child < 0) return Level::kNone;
  if (child == 0) _exit(ContainEscapee() ? 0 : 1);
  int status = 0;
  const bool reaped = waitpid(child, &status, 0) == child;
  const bool contained = reaped && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!contained) KillUntilNoneIsLeft();
  return contained ? Level::kSubreaper : Level::kNone;
}

}  // namespace nursery::warden
