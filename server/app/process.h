// RunProgram: what every program of ours does first and last: open standard streams (/dev/null for
// closed ones), an ignored SIGPIPE, a dump on SIGQUIT, and errors of threads that cannot be
// started.
//
// Thread safety: from main, before any other thread.
#ifndef NURSERY_SERVER_APP_PROCESS_H_
#define NURSERY_SERVER_APP_PROCESS_H_

#include <functional>

namespace nursery::app {

// Gives the exit code: that of `program`, or 1 when stdout could not be written.
int RunProgram(const std::function<int()>& program);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_PROCESS_H_
