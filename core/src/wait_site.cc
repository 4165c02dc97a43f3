#include "nursery/core/internal/wait_site.h"

#include <array>

#include "nursery/core/mutex.h"

namespace nursery::internal {
namespace {

// Several lists: sites come and go on all threads.
struct alignas(128) Shard {
  Mutex mutex;
  List<WaitSite, SiteTag> sites NURSERY_GUARDED_BY(mutex);
};
using Shards = std::array<Shard, 16>;

Shards& AllShards() {
  static Shards& shards = *new Shards;  // never destroyed: sites may be static too
  return shards;
}

Shard& ShardOf(const WaitSite* site) {
  constexpr int kAlignment = 6;  // bits that say little
  return AllShards()[(reinterpret_cast<uintptr_t>(site) >> kAlignment) % AllShards().size()];
}

}  // namespace

void WaitSite::Enlist() {
  Shard& shard = ShardOf(this);
  MutexLock lock(shard.mutex);
  if (linked()) return;
  shard.sites.PushBack(this);
  known_.store(true, std::memory_order_release);
}

void WaitSite::Forget() {
  if (!known_.load(std::memory_order_acquire)) return;
  MutexLock lock(ShardOf(this).mutex);
  Unlink();
}

void WaitSite::ForEach(absl::FunctionRef<void(const WaitSite&)> visit) {
  for (Shard& shard : AllShards()) {
    MutexLock lock(shard.mutex);
    List<WaitSite, SiteTag>& sites = shard.sites;
    for (WaitSite* site = sites.front(); site != nullptr; site = sites.next(site)) visit(*site);
  }
}

void HolderTable::AppendTo(std::vector<WaitQueue::Part>& parts) const {
  for (const Holder& holder : holders_) {
    if (holder.known_.load(std::memory_order_relaxed)) parts.push_back(holder.part_);
  }
}

}  // namespace nursery::internal
