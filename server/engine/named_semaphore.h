// NamedSemaphore: a semaphore that nodes acquire by its name, of a job or of the server: permits,
// which of its units each holder has, and who holds and waits.
//
// Hold: what a node wants, and then holds, of one.
//
// Thread safety: any thread; a Hold is its node's. Lifetime: the semaphore outlives its holds.
//
//   Hold hold(semaphore, user);
//   absl::StatusOr<Permit> permit = co_await semaphore.permits().Acquire(ctx, user.weight);
//   if (permit.ok()) hold.Take(*std::move(permit));
#ifndef NURSERY_SERVER_ENGINE_NAMED_SEMAPHORE_H_
#define NURSERY_SERVER_ENGINE_NAMED_SEMAPHORE_H_

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "nursery/core/mutex.h"
#include "nursery/core/semaphore.h"
#include "server/engine/engine_stats.h"
#include "server/spec/job.h"

namespace nursery::engine {

// A node that holds permits or waits for them.
struct SemaphoreUser {
  SemaphoreUser() = default;

  std::string job;   // its id
  std::string path;  // of the node
  int64_t weight = 1;
  Time deadline = kNever;  // of the node
  Time since{};            // holds or waits
  std::vector<int> units;  // numbers of those it holds
};

struct SemaphoreView {
  SemaphoreView() = default;

  std::string name;
  int64_t size = 0;
  int64_t held = 0;
  std::vector<std::string> units;
  std::vector<SemaphoreUser> holders;  // the longest first
  std::vector<SemaphoreUser> waiters;  // in order
  DurationCounts waits;                // of those that got their permits
};

class NamedSemaphore {
 public:
  NamedSemaphore(spec::Semaphore spec, const Clock& clock);
  NamedSemaphore(const NamedSemaphore&) = delete;
  NamedSemaphore& operator=(const NamedSemaphore&) = delete;

  const spec::Semaphore& spec() const { return spec_; }
  Semaphore& permits() { return permits_; }
  SemaphoreView View() const NURSERY_EXCLUDES(mutex_);

 private:
  friend class Hold;
  using Users = std::list<SemaphoreUser>;

  Users::iterator StartWaiting(SemaphoreUser user) NURSERY_EXCLUDES(mutex_);
  void StartHolding(Users::iterator user) NURSERY_EXCLUDES(mutex_);
  void Leave(Users::iterator user, bool holds) NURSERY_EXCLUDES(mutex_);

  const spec::Semaphore spec_;
  const Clock& clock_;
  Semaphore permits_;
  DurationHistogram waits_;
  mutable Mutex mutex_;
  Users holders_ NURSERY_GUARDED_BY(mutex_);
  Users waiters_ NURSERY_GUARDED_BY(mutex_);
  std::vector<bool> taken_ NURSERY_GUARDED_BY(mutex_);  // by unit
};

class Hold {
 public:
  // Waits for user.weight permits from now on.
  Hold(NamedSemaphore& of, SemaphoreUser user);
  Hold(Hold&& other) noexcept;
  Hold& operator=(Hold&&) = delete;
  // Gives back what it holds, or ceases to wait.
  ~Hold();

  // The permits have come; chooses the lowest free units.
  void Take(Permit permit);
  const NamedSemaphore& of() const { return *of_; }
  // "0,2", or empty when the semaphore has no units.
  std::string Units() const;

 private:
  NamedSemaphore* of_;  // null: moved from
  NamedSemaphore::Users::iterator user_;
  Permit permit_;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_NAMED_SEMAPHORE_H_
