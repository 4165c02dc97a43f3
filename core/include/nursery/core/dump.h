// Dumps of all executors of the process, and the SIGQUIT handler that prints them, as a Go program
// does (but the process lives on).
//
// Thread safety: any thread.
//
//   DumpOnSigquit dumper;   // first in main: threads that exist already would still die of SIGQUIT
#ifndef NURSERY_CORE_DUMP_H_
#define NURSERY_CORE_DUMP_H_

#include <cstdint>
#include <string>
#include <thread>

namespace nursery {

// The text dump of every executor.
std::string DumpAllTasks();
// Live tasks of every executor.
int64_t LiveTasks();

// While it lives, SIGQUIT prints DumpAllTasks to stderr, from a thread of its own: it works also
// when every scheduler thread is stuck.
class DumpOnSigquit {
 public:
  DumpOnSigquit();
  ~DumpOnSigquit();
  DumpOnSigquit(const DumpOnSigquit&) = delete;
  DumpOnSigquit& operator=(const DumpOnSigquit&) = delete;

 private:
  const int signal_fd_;
  const int stop_fd_;
  std::thread thread_;
};

}  // namespace nursery

#endif  // NURSERY_CORE_DUMP_H_
