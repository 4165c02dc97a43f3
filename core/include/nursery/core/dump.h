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

#include "nursery/core/task.h"

namespace nursery {

enum class DumpFormat : uint8_t {
  kText,       // every task with the chain of scopes it runs in, executor by executor
  kAggregate,  // like tasks together, with their number: FormatTaskProfile
  kJson,       // {"executors":[{"tasks":[{"id":2,"parent_id":1,...}]}]}, times in seconds
};

// The live tasks of every executor. Spawns and ends go on meanwhile; what lives all the time is in
// it once.
std::string DumpAllTasks(DumpFormat format = DumpFormat::kText);
// Of them those that live although they were cancelled more than `grace` ago. It is time for them
// to end, unless they do clean-up in a shielded scope. As text, then the wait cycles, and all tasks
// that nothing can wake (wait_graph.h).
std::string DumpStuckTasks(DumpFormat format = DumpFormat::kText, Duration grace = kStuckGrace);
// Live tasks of every executor, and those of them that are stuck: cancelled more than kStuckGrace
// ago.
int64_t LiveTasks();
int64_t StuckTasks();

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
