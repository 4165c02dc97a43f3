// A task process that misbehaves in one way: escapee SHAPE MARK.
//
// Each process it starts writes its pid to stdout as a line, then stays. The leader stays until its
// stdin ends. The mark has no other use than being found in /proc.
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

// Whatever goes wrong in the killing, no process of a test outlives this.
constexpr unsigned kLongestLife = 60;

void Announce() {
  char line[16];
  const int size = std::snprintf(line, sizeof(line), "%d\n", getpid());
  if (write(STDOUT_FILENO, line, static_cast<size_t>(size)) != size) _exit(3);
}

[[noreturn]] void Stay() {
  while (true) pause();
}

[[noreturn]] void AnnounceAndStay() {
  Announce();
  Stay();
}

void StartChild(void (*run)()) {
  const pid_t pid = fork();
  if (pid < 0) _exit(4);
  if (pid != 0) return;
  alarm(kLongestLife);  // not inherited by fork
  run();
  _exit(0);
}

// Runs `run` in a grandchild whose parent is dead.
void StartOrphan(void (*run)()) {
  const pid_t pid = fork();
  if (pid < 0) _exit(4);
  if (pid == 0) {
    StartChild(run);
    _exit(0);
  }
  waitpid(pid, nullptr, 0);
}

void IgnoreTerm() { signal(SIGTERM, SIG_IGN); }

[[noreturn]] void InNewSession() {
  setsid();
  AnnounceAndStay();
}

[[noreturn]] void CloseAllAndStay() {
  setsid();
  IgnoreTerm();
  Announce();
  close_range(0, ~0u, 0);
  Stay();
}

// A chain in which each process starts its successor in a new session and ends at once.
[[noreturn]] void Chain() {
  Announce();
  const std::time_t end = std::time(nullptr) + 20;
  while (std::time(nullptr) < end) {
    const pid_t pid = fork();
    if (pid > 0) _exit(0);
    if (pid == 0) setsid();
  }
  _exit(0);
}

// Eight such chains at once, all of them in the session.
void ForkStorm() {
  for (int i = 0; i < 8; ++i) {
    StartChild([] {
      Announce();
      const std::time_t end = std::time(nullptr) + 20;
      while (std::time(nullptr) < end) {
        if (fork() > 0) _exit(0);
      }
    });
  }
}

// Closed by the leader when it has announced itself.
int leader_announced = -1;

// Writes 1 GiB to a pipe that nobody reads.
[[noreturn]] void Flood(int start) {
  char ignored;
  while (read(start, &ignored, 1) > 0) {
  }
  static char block[1 << 16];
  for (int i = 0; i < 1 << 14; ++i) {
    if (write(STDOUT_FILENO, block, sizeof(block)) < 0) break;
  }
  Stay();
}

void StartFlood() {
  static int ends[2];
  if (pipe(ends) != 0) _exit(4);
  StartChild([] {
    close(ends[1]);
    Announce();
    Flood(ends[0]);
  });
  close(ends[0]);
  leader_announced = ends[1];
}

[[noreturn]] void StopAndStay() {
  Announce();
  raise(SIGSTOP);
  Stay();
}

void WriteSignal(int signal) {
  const char* line = signal == SIGTERM ? "term\n" : "cont\n";
  if (write(STDOUT_FILENO, line, 5) != 5 || signal == SIGCONT) _exit(0);
}

// SIGTERM is told, SIGCONT is told and ends the process.
void TellSignals() {
  struct sigaction action = {};
  action.sa_handler = WriteSignal;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGCONT, &action, nullptr);
}

[[noreturn]] void LeaveZombies() {
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    siginfo_t ended;
    waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT);
  }
  AnnounceAndStay();
}

void* SecondThread(void*) { AnnounceAndStay(); }

[[noreturn]] void EndFirstThread() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, SecondThread, nullptr) != 0) _exit(5);
  pthread_exit(nullptr);
}

// An inner subreaper keeps its orphans from ours as long as it lives.
[[noreturn]] void Subreaper() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  StartOrphan(CloseAllAndStay);
  AnnounceAndStay();
}

// With four processes each.
void StartBranches(int count) {
  for (int i = 0; i < count; ++i) {
    StartChild([] {
      StartChild(InNewSession);
      StartOrphan(CloseAllAndStay);
      StartChild(AnnounceAndStay);
      AnnounceAndStay();
    });
  }
}

void Wide() { StartBranches(6); }

// With the leader so many as the figure is for, half of which have left their session.
void Fifty() {
  StartBranches(12);
  StartChild(AnnounceAndStay);
}

struct Shape {
  const char* name;
  void (*start)();
};

constexpr Shape kShapes[] = {
    {"tells_signals",
     [] {
       TellSignals();
       StartChild(InNewSession);
     }},
    {"plain", [] {}},
    {"background",
     [] {
       for (int i = 0; i < 3; ++i) StartChild(AnnounceAndStay);
     }},
    {"ignores_term",
     [] {
       IgnoreTerm();
       StartChild(AnnounceAndStay);
     }},
    {"stubborn_child",
     [] {
       StartChild([] {
         IgnoreTerm();
         AnnounceAndStay();
       });
     }},
    {"setsid", [] { StartChild(InNewSession); }},
    {"double_fork", [] { StartOrphan(AnnounceAndStay); }},
    {"daemon", [] { StartOrphan(CloseAllAndStay); }},
    {"holds_stdout", [] { StartOrphan(InNewSession); }},
    {"chain", [] { StartOrphan(Chain); }},
    {"stops_itself", [] { StartChild(StopAndStay); }},
    {"zombies", [] { StartChild(LeaveZombies); }},
    {"dead_main_thread", [] { StartOrphan(EndFirstThread); }},
    {"subreaper", [] { StartChild(Subreaper); }},
    {"wide", Wide},
    {"fifty", Fifty},
    {"fork_storm", ForkStorm},
    {"floods", StartFlood},
};

// "env -i setsid" by a process without parent, session or environment.
void StartClean(char** argv) {
  static char** arguments;
  arguments = argv;
  StartOrphan([] {
    setsid();
    static char shape[] = "stay";
    arguments[1] = shape;
    char* environment[] = {nullptr};
    execve("/proc/self/exe", arguments, environment);
    _exit(6);
  });
}

// Its child becomes a setuid program, of $SETUID, or itself.
void StartSetuid(char** argv) {
  static char** arguments;
  arguments = argv;
  StartChild([] {
    setsid();
    static char shape[] = "stay";
    arguments[1] = shape;
    const char* program = std::getenv("SETUID");
    execv(program != nullptr ? program : "/proc/self/exe", arguments);
    _exit(6);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string name = argv[1];
  alarm(kLongestLife);
  if (name == "stay") AnnounceAndStay();
  if (name == "clean_environment") StartClean(argv);
  if (name == "setuid") StartSetuid(argv);
  for (const Shape& shape : kShapes) {
    if (name == shape.name) shape.start();
  }
  Announce();
  if (leader_announced >= 0) close(leader_announced);
  char ignored;
  while (read(STDIN_FILENO, &ignored, 1) > 0) {
  }
  return 7;
}
