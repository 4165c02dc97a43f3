#include "server/engine/named_semaphore.h"

#include <utility>

namespace nursery::engine {

NamedSemaphore::NamedSemaphore(spec::Semaphore spec, const Clock& clock)
    : spec_(std::move(spec)), clock_(clock), permits_(spec_.size), taken_(spec_.units.size()) {}

SemaphoreView NamedSemaphore::View() const {
  SemaphoreView view;
  view.name = spec_.name;
  view.size = spec_.size;
  view.held = permits_.Stats().held;
  view.units = spec_.units;
  view.waits = waits_.Read();
  MutexLock lock(mutex_);
  view.holders.assign(holders_.begin(), holders_.end());
  view.waiters.assign(waiters_.begin(), waiters_.end());
  return view;
}

NamedSemaphore::Users::iterator NamedSemaphore::StartWaiting(SemaphoreUser user) {
  user.since = clock_.Now();
  MutexLock lock(mutex_);
  return waiters_.insert(waiters_.end(), std::move(user));
}

void NamedSemaphore::StartHolding(Users::iterator user) {
  const Time now = clock_.Now();
  waits_.Observe(now - user->since);
  MutexLock lock(mutex_);
  user->since = now;
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (static_cast<int64_t>(user->units.size()) == user->weight) break;
    if (taken_[i]) continue;
    taken_[i] = true;
    user->units.push_back(static_cast<int>(i));
  }
  holders_.splice(holders_.end(), waiters_, user);
}

void NamedSemaphore::Leave(Users::iterator user, bool holds) {
  MutexLock lock(mutex_);
  for (int unit : user->units) taken_[static_cast<size_t>(unit)] = false;
  (holds ? holders_ : waiters_).erase(user);
}

Hold::Hold(NamedSemaphore& of, SemaphoreUser user)
    : of_(&of), user_(of.StartWaiting(std::move(user))) {}

Hold::Hold(Hold&& other) noexcept
    : of_(std::exchange(other.of_, nullptr)),
      user_(other.user_),
      permit_(std::move(other.permit_)) {}

Hold::~Hold() {
  // Before the permit, so that whoever gets it finds the units free.
  if (of_ != nullptr) of_->Leave(user_, permit_.weight() > 0);
}

void Hold::Take(Permit permit) {
  permit_ = std::move(permit);
  of_->StartHolding(user_);
}

std::string Hold::Units() const {
  std::string text;
  for (int unit : user_->units) {
    if (!text.empty()) text += ",";
    text += of_->spec().units[static_cast<size_t>(unit)];
  }
  return text;
}

}  // namespace nursery::engine
