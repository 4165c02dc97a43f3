// WaitSite: what tasks wait at and others hold, such as a semaphore or a side of a channel. From
// its first waiter on it is known to the process, for the wait-for graph.
//
// Who holds is known where it is certain: who acquired or made it, or got it as an argument of its
// task, as long as it has not been moved since. Its descendants may use it too, by reference.
//
// Thread safety: any thread. The lock of the list comes before that of a site.
#ifndef NURSERY_CORE_INTERNAL_WAIT_SITE_H_
#define NURSERY_CORE_INTERNAL_WAIT_SITE_H_

#include <atomic>
#include <cstdint>
#include <forward_list>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "nursery/core/internal/list.h"
#include "nursery/core/task.h"

namespace nursery::internal {

// One queue at a site: a waiter goes on when, of `total`, its `need` is not held.
struct WaitQueue {
  struct Part {
    TaskKey task;
    int64_t weight = 0;
  };
  std::vector<Part> waiters;  // first come first
  std::vector<Part> holders;  // those that are known
  int64_t total = 0;
  bool fifo = false;  // a waiter also waits for those before it
};

struct SiteTag {};

class WaitSite : public ListNode<SiteTag> {
 public:
  // Gives each of its queues to `visit`, under its own lock.
  virtual void VisitQueues(absl::FunctionRef<void(WaitQueue queue)> visit) const = 0;

  // All sites that are known; none goes meanwhile.
  static void ForEach(absl::FunctionRef<void(const WaitSite& site)> visit);

 protected:
  WaitSite() = default;
  ~WaitSite() = default;

  // Somebody waits. Outside of the site's lock.
  void MakeKnown() {
    if (!known_.load(std::memory_order_acquire)) Enlist();
  }
  // First in the destructor of what derives from it.
  void Forget();

 private:
  void Enlist();

  std::atomic<bool> known_{false};
};

// Who holds how much of a semaphore.
//
// Thread safety: none; the semaphore's lock guards it, but for Holder::Forget.
class HolderTable {
 public:
  // Of one permit, for as long as that is held.
  class Holder {
   public:
    // Whose it is from now on nobody knows. Needs no lock, so that a move costs nothing. Relaxed:
    // who looks for cycles sees this as soon as it sees that the task that did it waits or has
    // ended.
    void Forget() { known_.store(false, std::memory_order_relaxed); }

   private:
    friend class HolderTable;
    WaitQueue::Part part_;
    std::atomic<bool> known_{false};
    Holder* next_free_ = nullptr;
  };

  // No task: null.
  Holder* Add(TaskKey task, int64_t weight) {
    if (!task) return nullptr;
    Holder* holder = free_;
    if (holder == nullptr) {
      holder = &holders_.emplace_front();
    } else {
      free_ = holder->next_free_;
    }
    Set(*holder, task, weight);
    return holder;
  }
  static void Set(Holder& holder, TaskKey task, int64_t weight) {
    holder.part_ = {task, weight};
    holder.known_.store(true, std::memory_order_relaxed);
  }
  // Does nothing for null.
  void Remove(Holder* holder) {
    if (holder == nullptr) return;
    holder->Forget();
    holder->next_free_ = std::exchange(free_, holder);
  }
  void AppendTo(std::vector<WaitQueue::Part>& parts) const;

 private:
  std::forward_list<Holder> holders_;  // they stay where they are, and are used again
  Holder* free_ = nullptr;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_WAIT_SITE_H_
