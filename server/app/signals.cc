#include "server/app/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "nursery/core/check.h"
#include "nursery/core/io.h"

namespace nursery::app {

Signals::Signals(std::initializer_list<int> numbers) {
  sigemptyset(&waited_for_);
  for (int number : numbers) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&waited_for_, number);
  }
  pthread_sigmask(SIG_BLOCK, &waited_for_, &previous_);
  fd_ = signalfd(-1, &waited_for_, SFD_CLOEXEC | SFD_NONBLOCK);
  NURSERY_CHECK(fd_ >= 0) << "no signalfd: out of descriptors";
}

Signals::~Signals() {
  close(fd_);
  for (int number = 1; number < SIGRTMIN; ++number) {
    if (sigismember(&waited_for_, number) == 1) std::signal(number, SIG_IGN);
  }
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
