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
#include <string>

#include "server/warden/cgroup.h"
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

// Leaves its parents, and its session unless it is to stay there, tells its pid and stays. Does not
// return.
[[noreturn]] void Escape(int report_fd, bool leaves_session) {
  setsid();
  if (fork() != 0) _exit(0);
  if (leaves_session) setsid();
  if (fork() != 0) _exit(0);
  const pid_t self = getpid();
  if (write(report_fd, &self, sizeof(self)) != sizeof(self)) _exit(1);
  while (true) pause();
}

// -1 at end of file, when whoever should have written is dead.
pid_t ReadPid(int fd) {
  pollfd readable = {fd, POLLIN, 0};
  pid_t pid = -1;
  if (poll(&readable, 1, static_cast<int>(kPatience.count())) != 1 ||
      read(fd, &pid, sizeof(pid)) != sizeof(pid)) {
    return -1;
  }
  return pid;
}

// Reaps until no child is left, and calls `kill_all` before each round.
template <typename F>
bool ReapAll(F kill_all) {
  const Clock::time_point start = Clock::now();
  while (Clock::now() - start < kPatience) {
    kill_all();
    pid_t reaped;
    do {
      reaped = waitpid(-1, nullptr, WNOHANG | __WALL);
    } while (reaped > 0);
    if (reaped < 0 && errno == ECHILD) return true;
    AwaitChild(TimeToNextRound(Clock::now() - start));
  }
  return false;
}

bool KillUntilNoneIsLeft() {
  return ReapAll([] { KillDescendants(); });
}

bool IsGone(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

// The process in between, as a reaper is for an attempt. What it leaves comes to the caller.
bool ContainEscapee(const Containment& containment) {
  int ends[2];
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0) return false;
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  Enclosure enclosure(containment);
  if (!enclosure.Prepare(0)) return false;
  const pid_t child = enclosure.Fork();
  if (child < 0) return false;
  if (child == 0) {
    if (!EnterCgroup(enclosure.to_enter())) _exit(1);
    Escape(writer.get(), containment.level != Level::kGroup);
  }
  enclosure.SetLeader(child);
  writer.reset();
  const pid_t escapee = ReadPid(reader.get());
  // By nothing but what the level adds: at kCgroup only the cgroup, at kGroup only the session.
  const auto kill_all = [&] {
    if (containment.level == Level::kCgroup) {
      enclosure.KillAtOnce(child);
    } else {
      enclosure.KillRound();
    }
  };
  const bool contained = ReapAll(kill_all) && escapee > 0 && IsGone(escapee);
  enclosure.Remove();
  return contained;
}

bool Holds(const Containment& containment) {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) _exit(ContainEscapee(containment) ? 0 : 1);
  int status = 0;
  const bool reaped = waitpid(child, &status, 0) == child;
  const bool contained = reaped && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (contained) return true;
  KillUntilNoneIsLeft();
  // Its test may have died in the middle.
  if (containment.level == Level::kCgroup) RemoveCgroup(containment.cgroup, LeafName(0));
  return false;
}

}  // namespace

Containment SelfTest(int cgroup, Level demanded) {
  const Containment candidates[] = {{Level::kCgroup, cgroup, Join::kClone},
                                    {Level::kCgroup, cgroup, Join::kWrite},
                                    {Level::kSubreaper, -1},
                                    {Level::kGroup, -1}};
  for (const Containment& candidate : candidates) {
    if (demanded != Level::kNone && candidate.level != demanded) continue;
    if (candidate.level == Level::kCgroup && cgroup < 0) continue;
    // Without /proc there is nothing to look for processes in, which every level needs.
    if (ReadProcess(getpid()) && Holds(candidate)) return candidate;
  }
  return {};
}

}  // namespace nursery::warden
