#include "nursery/core/dump.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "nursery/core/internal/registry.h"

namespace nursery {
namespace {

int OpenSigquit() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void PrintOnSignals(int signal_fd, int stop_fd) {
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

}  // namespace

std::string DumpAllTasks() {
  std::string text;
  internal::TaskRegistry::ForEach(
      [](const internal::TaskRegistry& registry, void* argument) {
        *static_cast<std::string*>(argument) += registry.Dump();
      },
      &text);
  return text;
}

int64_t LiveTasks() {
  int64_t live = 0;
  internal::TaskRegistry::ForEach(
      [](const internal::TaskRegistry& registry, void* argument) {
        *static_cast<int64_t*>(argument) += registry.Stats().live;
      },
      &live);
  return live;
}

DumpOnSigquit::DumpOnSigquit()
    : signal_fd_(OpenSigquit()),
      stop_fd_(eventfd(0, EFD_CLOEXEC)),
      thread_(StartPrinting(signal_fd_, stop_fd_)) {}

DumpOnSigquit::~DumpOnSigquit() {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t put = write(stop_fd_, &one, sizeof one);
  thread_.join();
  close(stop_fd_);
  close(signal_fd_);
}

}  // namespace nursery
