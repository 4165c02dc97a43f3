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

// Who holds how much of a semaphore: slots that are used again.
//
// Thread safety: none; the semaphore's lock guards it.
class HolderTable {
 public:
  static constexpr uint32_t kNobody = UINT32_MAX;

  // No task, or one that is not known: kNobody.
  uint32_t Add(TaskKey holder, int64_t weight) {
    if (!holder) return kNobody;
    uint32_t slot = free_;
    if (slot == kNobody) {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      free_ = slots_[slot].next_free;
    }
    slots_[slot].part = {holder, weight};
    return slot;
  }
  // Does nothing for kNobody.
  void Remove(uint32_t slot) {
    if (slot == kNobody) return;
    slots_[slot] = {{}, free_};
    free_ = slot;
  }
  void AppendTo(std::vector<WaitQueue::Part>& parts) const;

 private:
  struct Slot {
    WaitQueue::Part part;
    uint32_t next_free = kNobody;
  };
  std::vector<Slot> slots_;
  uint32_t free_ = kNobody;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_WAIT_SITE_H_
