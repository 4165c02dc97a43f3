#include "server/warden/launcher.h"

#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <utility>

namespace nursery::warden {
namespace {

#ifdef NURSERY_LAUNCHER_COPIES
constexpr bool kCopies = true;  // a sanitizer keeps accounts of memory and threads
#else
constexpr bool kCopies = false;
#endif

// The child does little more than system calls.
constexpr size_t kChildStackBytes = size_t{32} << 10;
constexpr size_t kThreadStackBytes = size_t{64} << 10;

constexpr unsigned long long kSharing = CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID;

#ifdef __x86_64__
constexpr bool kIsBornInCgroup = true;

// As clone() of glibc, which knows no cgroups. By hand, because a child with a stack of its own
// cannot return from syscall().
pid_t CloneIntoCgroup(int cgroup, char* stack, int (*run)(void*), void* argument, pid_t* pid) {
  clone_args arguments = {};
  arguments.flags = kSharing | CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.parent_tid = reinterpret_cast<unsigned long long>(pid);
  arguments.stack = reinterpret_cast<unsigned long long>(stack);
  arguments.stack_size = kChildStackBytes;
  arguments.cgroup = static_cast<unsigned long long>(cgroup);
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "testq %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "movq %[argument], %%rdi\n\t"
      "callq *%[run]\n\t"
      "hlt\n"
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), [run] "r"(run), [argument] "r"(argument)
      : "rcx", "r11", "cc", "memory");
  if (result >= 0) return static_cast<pid_t>(result);
  errno = static_cast<int>(-result);
  return -1;
}
#else
constexpr bool kIsBornInCgroup = false;

pid_t CloneIntoCgroup(int, char*, int (*)(void*), void*, pid_t*) { return -1; }
#endif

}  // namespace

Launcher::Launcher() : stack_(std::make_unique_for_overwrite<char[]>(kChildStackBytes)) {
  sem_init(&wanted_, /*pshared=*/0, 0);
}

bool Launcher::Launch(Plan plan) {
  plan_ = std::move(plan);
  plan_.site.report_fd = plan_.report.get();
  pid_.store(kUnborn);
  if (kCopies) {
    Start();
    return true;
  }
  if (!has_thread_ && !StartThread()) return false;
  return sem_post(&wanted_) == 0;
}

bool Launcher::StartThread() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, Serve, this);
  pthread_attr_destroy(&attributes);
  has_thread_ = error == 0;
  errno = error;
  return has_thread_;
}

void* Launcher::Serve(void* launcher) {
  auto* const self = static_cast<Launcher*>(launcher);
  for (;;) {
    if (sem_wait(&self->wanted_) == 0) self->Start();
  }
}

void Launcher::Start() {
  // Closed last: from then on the plan is the caller's.
  const UniqueFd report = std::move(plan_.report);
  const pid_t pid = Clone();
  if (pid < 0) {
    const LaunchFailure failure = {Step::kFork, errno};
    // An empty pipe takes it.
    [[maybe_unused]] const ssize_t written = write(report.get(), &failure, sizeof(failure));
  }
  pid_.store(pid);
}

pid_t Launcher::Clone() {
  const int cgroup = plan_.enclosure->birthplace();
  // Other processes of an account may look into one that has its rights, and so into its memory.
  if (kCopies || plan_.spec->account || (cgroup >= 0 && !kIsBornInCgroup)) {
    const pid_t pid = plan_.enclosure->Fork();
    if (pid == 0) Child(this);
    return pid;
  }
  static_assert(sizeof(pid_) == sizeof(pid_t) && std::atomic<pid_t>::is_always_lock_free);
  auto* const pid = reinterpret_cast<pid_t*>(&pid_);
  if (cgroup >= 0) return CloneIntoCgroup(cgroup, stack_.get(), Child, this, pid);
  return clone(Child, stack_.get() + kChildStackBytes, static_cast<int>(kSharing) | SIGCHLD, this,
               pid);
}

int Launcher::Child(void* launcher) {
  const Plan& plan = static_cast<Launcher*>(launcher)->plan_;
  warden::Launch(*plan.spec, *plan.inherited, plan.site);
}

pid_t Launcher::pid() const {
  pid_t pid;
  while ((pid = pid_.load()) == kUnborn) sched_yield();
  return pid;
}

}  // namespace nursery::warden
