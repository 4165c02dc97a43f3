#include "server/app/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "nursery/core/check.h"
#include "nursery/core/io.h"

namespace nursery::app {

Signals::Signals(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : numbers) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  pthread_sigmask(SIG_BLOCK, &set, &previous_);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  NURSERY_CHECK(fd_ >= 0) << "no signalfd: out of descriptors";
}

Signals::~Signals() {
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

Async<absl::StatusOr<int>> Signals::Next(Context context) {
  for (;;) {
    absl::Status ready = co_await ReadReady(context, fd_);
    if (!ready.ok()) co_return ready;
    signalfd_siginfo info;
    if (read(fd_, &info, sizeof info) == sizeof info) co_return static_cast<int>(info.ssi_signo);
  }
}

}  // namespace nursery::app
