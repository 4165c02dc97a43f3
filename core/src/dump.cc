#include "nursery/core/dump.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <vector>

#include "absl/functional/function_ref.h"
#include "nursery/core/check.h"
#include "nursery/core/internal/asleep.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/task_profile.h"
#include "nursery/core/wait_graph.h"

namespace nursery {

using internal::TaskRegistry;
using internal::TaskSnapshot;

namespace {

int OpenSigquit() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void PrintOnSignals(int signal_fd, int stop_fd) {
  const internal::KnownThread known;
  for (;;) {
    pollfd descriptors[] = {{.fd = signal_fd, .events = POLLIN, .revents = 0},
                            {.fd = stop_fd, .events = POLLIN, .revents = 0}};
    poll(descriptors, 2, -1);
    if (descriptors[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info) continue;
    const std::string text = DumpAllTasks();
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  }
}

// The thread takes no signals, whatever its maker does later: those of the process stay with the
// others.
std::thread StartPrinting(int signal_fd, int stop_fd) {
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  std::thread thread(PrintOnSignals, signal_fd, stop_fd);
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  return thread;
}

int64_t SumOfAll(absl::FunctionRef<int64_t(const TaskRegistry& registry)> figure) {
  int64_t sum = 0;
  TaskRegistry::ForEach([&](const TaskRegistry& registry) { sum += figure(registry); });
  return sum;
}

std::string Render(const std::vector<TaskSnapshot>& snapshots, DumpFormat format) {
  if (format == DumpFormat::kJson) return internal::RenderJson(snapshots);
  if (format == DumpFormat::kAggregate) return FormatTaskProfile(internal::Profile(snapshots));
  std::string text;
  for (const TaskSnapshot& snapshot : snapshots) internal::AppendDump(snapshot, text);
  return text;
}

}  // namespace

std::string DumpAllTasks(DumpFormat format) {
  if (format == DumpFormat::kAggregate) return FormatTaskProfile(ProfileAllTasks());
  return Render(internal::SnapshotAll(), format);
}

std::string DumpStuckTasks(DumpFormat format, Duration grace) {
  std::vector<TaskSnapshot> snapshots;
  TaskRegistry::ForEach([&snapshots, grace](const TaskRegistry& registry) {
    TaskSnapshot& snapshot = snapshots.emplace_back();
    // The others are there for the chains of the stuck ones, of which there are mostly none.
    if (registry.CountStuck(grace) == 0) return;
    snapshot = registry.Snapshot();
    for (internal::TaskEntry& task : snapshot.tasks) {
      task.listed = internal::IsStuck(task.cancel_time, snapshot.taken, grace);
    }
  });
  std::string text = Render(snapshots, format);
  if (format == DumpFormat::kText) text += FormatWaitGraph(FindWaitCycles());
  return text;
}

int64_t LiveTasks() { return SumOfAll(&TaskRegistry::live); }

int64_t StuckTasks() {
  return SumOfAll([](const TaskRegistry& registry) { return registry.CountStuck(kStuckGrace); });
}

DumpOnSigquit::DumpOnSigquit()
    : signal_fd_(OpenSigquit()),
      stop_fd_(eventfd(0, EFD_CLOEXEC)),
      thread_(StartPrinting(signal_fd_, stop_fd_)) {
  NURSERY_CHECK(signal_fd_ >= 0 && stop_fd_ >= 0) << "cannot wait for SIGQUIT: out of descriptors";
}

DumpOnSigquit::~DumpOnSigquit() {
  const internal::StayAwake until_the_thread_has_gone;
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t put = write(stop_fd_, &one, sizeof one);
  thread_.join();
  close(stop_fd_);
  close(signal_fd_);
}

}  // namespace nursery
