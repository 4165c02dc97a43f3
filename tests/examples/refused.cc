// What does not compile, where a warning counts: the lines that say so, and no others. A swallowed
// error, a wait that nobody waits for or that has no context, a second owner. It belongs to no
// target; refused_test.py compiles it.
#include <chrono>
#include <tuple>

#include "nursery/core/group.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/sleep.h"
#include "nursery/core/timeout.h"

namespace nursery {

Async<absl::Status> Work(Context ctx);
Async<absl::Status> Body(Group& group);

// A result that is dropped; g++ 12 does not look behind co_await.
Async<absl::Status> SwallowErrors(Context ctx) {
  co_await WithGroup(ctx, GroupOptions(), Body);  // refused by clang
  co_await Work(ctx);                             // refused by clang
  co_return absl::OkStatus();
}

// Something that may wait and is not awaited: it would never run.
void ForgetToWait(Context ctx, Group& group, Semaphore& semaphore) {
  Work(ctx);                             // refused
  Sleep(ctx, std::chrono::seconds(1));   // refused
  semaphore.Acquire(ctx);                // refused
  group.Spawn("work", Work);             // refused
  WithGroup(ctx, GroupOptions(), Body);  // refused
}

// A wait without the caller's context.
void WaitWithoutContext(Semaphore& semaphore) {
  Context none;                                   // refused
  std::ignore = Sleep(std::chrono::seconds(1));   // refused
  std::ignore = semaphore.Acquire();              // refused
  std::ignore = WithGroup(GroupOptions(), Body);  // refused
}

// A second owner, or a scope without its door.
void Own(Context ctx, Group& group, Permit permit) {
  Permit second = permit;          // refused
  Group copy(group);               // refused
  Group own(ctx, GroupOptions());  // refused
}

}  // namespace nursery
