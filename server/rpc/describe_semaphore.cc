#include "server/rpc/describe_semaphore.h"

#include <algorithm>

#include "server/engine/convert.h"

namespace nursery::rpc {
namespace {

constexpr int kMaxUsers = 20;

using PermitHolders = google::protobuf::RepeatedPtrField<v1::PermitHolder>;

// The first of `users`.
void AddUsers(const std::vector<engine::SemaphoreUser>& users, const engine::SemaphoreView& view,
              const Clock& clock, PermitHolders* to) {
  for (const engine::SemaphoreUser& user : users) {
    if (to->size() == kMaxUsers) return;
    v1::PermitHolder& holder = *to->Add();
    holder.set_job("jobs/" + user.job);
    holder.set_path(user.path);
    holder.set_weight(user.weight);
    for (int unit : user.units) holder.add_units(view.units[static_cast<size_t>(unit)]);
    *holder.mutable_since() = engine::ToProto(ToWall(clock, user.since));
    if (user.deadline == kNever) continue;
    *holder.mutable_deadline() = engine::ToProto(ToWall(clock, user.deadline));
  }
}

}  // namespace

v1::Semaphore ToProto(const engine::SemaphoreView& view, const std::string& parent,
                      const Clock& clock) {
  v1::Semaphore semaphore;
  semaphore.set_name(parent + "semaphores/" + view.name);
  semaphore.set_size(view.size);
  semaphore.set_held(view.held);
  AddUsers(view.holders, view, clock, semaphore.mutable_holders());
  semaphore.set_holder_count(static_cast<int64_t>(view.holders.size()));
  AddUsers(view.waiters, view, clock, semaphore.mutable_waiters());
  semaphore.set_waiter_count(static_cast<int64_t>(view.waiters.size()));
  return semaphore;
}

void ExplainSemaphore(const engine::SemaphoreView& view, const std::string& job,
                      const std::string& path, const Clock& clock, v1::Explanation* explanation) {
  explanation->set_size(view.size);
  explanation->set_free(view.size - view.held);
  AddUsers(view.holders, view, clock, explanation->mutable_holders());
  explanation->set_holder_count(static_cast<int64_t>(view.holders.size()));
  v1::Wait& wait = *explanation->mutable_wait();
  wait.set_queue_length(static_cast<int64_t>(view.waiters.size()));
  const auto waiter = std::find_if(
      view.waiters.begin(), view.waiters.end(),
      [&](const engine::SemaphoreUser& user) { return user.job == job && user.path == path; });
  if (waiter == view.waiters.end()) return;
  explanation->set_wanted(waiter->weight);
  wait.set_position(waiter - view.waiters.begin() + 1);
  *wait.mutable_since() = engine::ToProto(ToWall(clock, waiter->since));
}

}  // namespace nursery::rpc
