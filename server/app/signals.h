// Signals: waits for signals as a task. While it lives they do nothing else. Those that whoever
// started us had ignored (nohup does) stay ignored. After its end all of them are ignored: the
// program is about to exit, and its exit code counts.
//
// Thread safety: Next by one task at a time. Lifetime: made in main before any other thread.
//
//   Signals signals({SIGINT, SIGTERM});
//   absl::StatusOr<int> number = co_await signals.Next(ctx);
#ifndef NURSERY_SERVER_APP_SIGNALS_H_
#define NURSERY_SERVER_APP_SIGNALS_H_

#include <csignal>
#include <initializer_list>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"

namespace nursery::app {

class Signals {
 public:
  Signals(std::initializer_list<int> numbers);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The next one. The cause's status when `context` is cancelled.
  Async<absl::StatusOr<int>> Next(Context context);

 private:
  sigset_t waited_for_;
  sigset_t previous_;
  int fd_;
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_SIGNALS_H_
