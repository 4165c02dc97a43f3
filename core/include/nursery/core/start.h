// StartTask: spawns a task and goes on when the task says that it has started, with what it found
// out meanwhile, such as the port it listens on; as Trio's nursery.start.
//
// Thread safety: StartTask from the body of the group; a Started belongs to its task.
// Lifetime: the task is one of the group's, as after Spawn. Suspends: for a place in the group, and
// until the task has started. Resumes on: the executor. Cancellation: of the group's context;
// returns the cause's status. Order: as Spawn.
//
//   Async<absl::Status> Serve(Context ctx, Started<int> started, std::string address) {
//     absl::StatusOr<int> port = Listen(address);
//     if (!port.ok()) co_return port.status();
//     absl::Status told = started.Set(*port);
//     ...
//   absl::StatusOr<int> port = co_await StartTask<int>(group, "server", Serve, address);
#ifndef NURSERY_CORE_START_H_
#define NURSERY_CORE_START_H_

#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/planted.h"

namespace nursery {

namespace internal {
absl::Status StartedTwiceStatus();                           // FAILED_PRECONDITION
absl::Status NobodyWaitsStatus();                            // FAILED_PRECONDITION
absl::Status EndedBeforeStartStatus(std::string_view task);  // FAILED_PRECONDITION
}  // namespace internal

// With it a task says that it has started. When it goes unused, the spawner is told so.
template <class T = std::monostate>
class Started {
 public:
  explicit Started(Sender<T> sender) : sender_(std::move(sender)) {}

  // FAILED_PRECONDITION: it was said before, or nobody waits for it any more.
  absl::Status Set(T value = T()) {
    if (std::exchange(said_, true)) return internal::StartedTwiceStatus();
    const absl::Status sent = sender_.TrySend(std::move(value));
    return sent.ok() ? sender_.Close() : internal::NobodyWaitsStatus();
  }

 private:
  Sender<T> sender_;
  bool said_ = false;
};

// `function(context, started, args...)` gives an Async<absl::Status>. Also FAILED_PRECONDITION: the
// task has ended and never said so; its own status is in the group's result.
template <class T = std::monostate, class Function, class... Args>
Async<absl::StatusOr<T>> StartTask(Group& group, TaskName name, Function function, Args... args) {
  const Label text = name.text;
  auto [sender, receiver] = MakeChannel<T>(1);
  Started<T> started(std::move(sender));
  absl::Status spawned = co_await group.Spawn(std::move(name), std::move(function),
                                              std::move(started), std::move(args)...);
  if (!spawned.ok()) co_return spawned;
  absl::StatusOr<T> value = co_await receiver.Receive(group.context());
  const bool ended = internal::IsEnd(value.status(), group.context());
  if (ended && PLANTED(end_taken_for_start)) co_return T();
  if (ended) co_return internal::EndedBeforeStartStatus(text);
  co_return value;
}

}  // namespace nursery

#endif  // NURSERY_CORE_START_H_
