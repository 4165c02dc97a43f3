// Leaks: the tasks that are still there when what started them should be over, and those that a
// cancellation has not ended; as goleak, for one root, so that tests may run side by side.
//
// A scope cannot leave a task behind, so what leaks is started in a scope further out: through a
// Spawner, or by a service that grows. A mark is made before; what was spawned since, and lives, is
// the leak. Nothing has to be waited for: a task that has ended is gone when its scope knows.
//
// Where that scope is below another root, as that of a service which the program runs beside, the
// task is too: only Mark::OfProcess sees it. A job of a WorkerPool is no task, its worker is:
// WorkerPool::Stats tells of jobs.
//
// Thread safety: any thread. Lifetime: a Mark is a plain value and holds nothing.
//
//   const leak::Mark before = co_await leak::MarkThisRoot();
//   ...                                              // opens a session and closes it
//   EXPECT_THAT(leak::Verify(before), IsEmpty());    // "task 7 [timer] keep-alive, ..."
#ifndef NURSERY_CORE_LEAK_H_
#define NURSERY_CORE_LEAK_H_

#include <coroutine>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/task.h"

namespace nursery::leak {

// A task as it is found.
struct LiveTask {
  uint64_t id = 0;
  uint64_t parent_id = 0;  // 0: a root
  std::string name;
  std::vector<std::string> scopes;  // in a wait graph: the names of the tasks above it, root first
  std::string doing;                // what it waits for, as in "semaphore", else its state
  std::string at;          // FILE:LINE of the co_await it stands at; empty: it came to none yet
  std::string spawned_at;  // FILE:LINE
  Duration age{};
};
// "task 7 [timer] keep-alive, at FILE:LINE, spawned at FILE:LINE by task 2".
std::ostream& operator<<(std::ostream& stream, const LiveTask& task);

// What there was at some moment.
class Mark {
 public:
  // All executors of the process.
  static Mark OfProcess();

 private:
  friend class MarkAwaiter;
  friend std::vector<LiveTask> Verify(const Mark& mark);
  Mark() = default;

  std::map<uint64_t, uint64_t> last_ids_;  // of the last task that was spawned, by registry
  uint64_t registry_ = 0;                  // 0: all of them
  uint64_t root_ = 0;
};

class [[nodiscard]] MarkAwaiter {
 public:
  MarkAwaiter() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    task_ = handle.promise().task;
    return false;
  }
  Mark await_resume() const;

 private:
  const internal::TaskRecord* task_ = nullptr;
};

// A mark of the root task that the awaiting task runs below, whatever other roots the executor has.
// Does not suspend.
inline MarkAwaiter MarkThisRoot() { return {}; }

// The live tasks that were spawned since the mark, below its root; of a mark of the process all,
// also those of executors that came later. In the order of their spawns; empty: nothing has leaked.
[[nodiscard]] std::vector<LiveTask> Verify(const Mark& mark);

// The live tasks, of all executors, that were cancelled more than `grace` ago: they ignore it, or
// their clean-up in a shielded scope takes long.
[[nodiscard]] std::vector<LiveTask> Stuck(Duration grace = kStuckGrace);

}  // namespace nursery::leak

#endif  // NURSERY_CORE_LEAK_H_
