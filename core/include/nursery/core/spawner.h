// Spawner: spawns into a group from anywhere: a callback of another library, a task of another
// scope. It does not keep the group open, and may outlive it.
//
// Thread safety: any thread. Lifetime: a counted reference; after the join it refuses.
//
//   Spawner spawner(group);
//   server.OnAccept([spawner](int fd) { return spawner.TrySpawn("connection", Serve, fd); });
#ifndef NURSERY_CORE_SPAWNER_H_
#define NURSERY_CORE_SPAWNER_H_

#include <memory>
#include <utility>

#include "nursery/core/group.h"

namespace nursery {

class Spawner {
 public:
  explicit Spawner(Group& group) : link_(group.Link()) {}

  // As Group::TrySpawn, but FAILED_PRECONDITION also after the join; and what the arguments throw
  // while the task is made, which there comes out of the call, is INTERNAL: callers may be
  // callbacks of libraries that know no exceptions.
  template <class Function, class... Args>
  absl::Status TrySpawn(TaskName name, Function function, Args... args) const {
    absl::StatusOr<Group*> group = link_->TakePlace();
    if (!group.ok()) return group.status();
    // The place keeps the group's join waiting.
    return (*group)->StartInPlace(std::move(name), std::move(function), std::move(args)...);
  }

 private:
  std::shared_ptr<internal::GroupLink> link_;
};

}  // namespace nursery

#endif  // NURSERY_CORE_SPAWNER_H_
