// Launcher: starts the task processes of a reaper, which goes on meanwhile.
//
// A child that has its parent's memory until it executes its program costs a fifth of one that gets
// a copy. But the parent stands still until then, and that may be long: a directory may hang. So
// the parent is a thread of its own here, beside the reaper's.
//
// Not by CLONE_VM without CLONE_VFORK: the child's oom_score_adj would be that of the reaper, too,
// and the thread's errno and stack that of the child.
//
// Thread safety: one thread, the only one of its process before the first Launch.
// Lifetime: until the process ends.
#ifndef NURSERY_SERVER_WARDEN_LAUNCHER_H_
#define NURSERY_SERVER_WARDEN_LAUNCHER_H_

#include <semaphore.h>
#include <sys/types.h>

#include <atomic>
#include <memory>

#include "server/warden/enclosure.h"
#include "server/warden/launch.h"
#include "server/warden/process_spec.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

class Launcher {
 public:
  struct Plan {
    const SpecView* spec = nullptr;
    const Inherited* inherited = nullptr;
    const Enclosure* enclosure = nullptr;
    LaunchSite site;  // but for its report_fd
    UniqueFd report;  // takes a LaunchFailure, if there is one
  };

  Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // Starts a child of this process after `plan`. When the report is at its end the program runs or
  // has failed; what the plan points to stays until then. False, and errno, if there is no thread.
  // Requires: the report of the plan before is at its end.
  bool Launch(Plan plan);
  // Of the child, which may not have executed its program yet; -1: there is none.
  pid_t pid() const;

 private:
  static constexpr pid_t kUnborn = 0;

  bool StartThread();
  [[noreturn]] static void* Serve(void* launcher);
  void Start();
  pid_t Clone();
  [[noreturn]] static int Child(void* launcher);

  // Constant after construction.
  const std::unique_ptr<char[]> stack_;  // of a child, as long as it has this memory

  // Own synchronization.
  sem_t wanted_;
  std::atomic<pid_t> pid_{kUnborn};  // the kernel writes it

  // Of the caller until Launch, of the thread until the end of the report.
  Plan plan_;
  // Of the caller.
  bool has_thread_ = false;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_LAUNCHER_H_
