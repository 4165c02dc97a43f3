#include "nursery/core/internal/frame_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

#include "nursery/core/mutex.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NURSERY_KEEP_FRAMES false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NURSERY_KEEP_FRAMES false
#endif
#endif
#ifndef NURSERY_KEEP_FRAMES
#define NURSERY_KEEP_FRAMES true
#endif

namespace nursery::internal {
namespace {

constexpr size_t kGrain = 16;
constexpr size_t kClasses = 128;  // up to 2 KiB
// glibc's malloc, with its eight bytes of its own, wastes nothing of such a size.
constexpr size_t SizeOf(size_t index) { return index * kGrain + 8; }
constexpr size_t IndexOf(size_t bytes) { return (bytes + 7) / kGrain; }
static_assert(SizeOf(IndexOf(8)) == 8 && SizeOf(IndexOf(9)) == 24 && SizeOf(IndexOf(24)) == 24);
// Blocks of one size change hands in chains of so many. A thread keeps up to two of them; a further
// one it leaves to others, which may be the ones that allocate, while this one only gives back.
constexpr uint32_t kChain = 256;
// Left to others, of each size: so many chains, and so many bytes but for the first. What comes
// beyond goes to the heap.
constexpr uint32_t kMostChains = 16;
constexpr size_t kMostBytes = size_t{1} << 20;

struct Block {
  Block* next;
};

// Chains of one size that are left to whoever needs one.
class Depot {
 public:
  // False: there are enough.
  bool Give(Block* chain, size_t index) {
    const size_t most = kMostBytes / (kChain * SizeOf(index));
    MutexLock lock(mutex_);
    const uint32_t count = count_.load(std::memory_order_relaxed);
    if (count >= std::clamp<size_t>(most, 1, kMostChains)) return false;
    chains_[count] = chain;
    count_.store(count + 1, std::memory_order_relaxed);
    return true;
  }
  // Null: there is none.
  Block* Take() {
    if (count_.load(std::memory_order_relaxed) == 0) return nullptr;
    MutexLock lock(mutex_);
    const uint32_t count = count_.load(std::memory_order_relaxed);
    if (count == 0) return nullptr;
    count_.store(count - 1, std::memory_order_relaxed);
    return chains_[count - 1];
  }

 private:
  Mutex mutex_;
  std::atomic<uint32_t> count_{0};  // changed under the lock
  std::array<Block*, kMostChains> chains_ NURSERY_GUARDED_BY(mutex_){};
};

// Blocks of one size that this thread keeps.
struct Shelf {
  Block* first = nullptr;
  uint32_t room = 0;       // how many more make `first` a whole chain
  Block* spare = nullptr;  // a whole chain, or none
};

// Have no destructor: a thread may give back blocks while its other variables die.
constinit thread_local std::array<Shelf, kClasses> shelves{};
constinit thread_local bool open = false;

std::array<Depot, kClasses>& Depots() {
  static auto& depots = *new std::array<Depot, kClasses>;
  return depots;
}

void FreeChain(Block* chain) {
  while (Block* block = chain) {
    chain = block->next;
    ::operator delete(block);
  }
}

struct Closer {
  Closer() {
    for (Shelf& shelf : shelves) shelf.room = kChain;
    open = true;
  }
  ~Closer() {
    open = false;
    for (Shelf& shelf : shelves) {
      shelf.room = 0;
      FreeChain(std::exchange(shelf.first, nullptr));
      FreeChain(std::exchange(shelf.spare, nullptr));
    }
  }
};

// The first time makes room until the thread ends; whether there is any.
bool IsOpen() {
  thread_local const Closer closer;
  return open;
}

// Null: there is no block.
[[gnu::noinline]] Block* Refill(size_t index) {
  if (!IsOpen()) return nullptr;
  Shelf& shelf = shelves[index];
  Block* const chain =
      shelf.spare != nullptr ? std::exchange(shelf.spare, nullptr) : Depots()[index].Take();
  if (chain != nullptr) shelf.room = 0;
  return chain;
}

[[gnu::noinline]] bool MakeRoom(size_t index) {
  if (!IsOpen()) return false;
  Shelf& shelf = shelves[index];
  if (shelf.room != 0) return true;
  if (shelf.spare != nullptr && !Depots()[index].Give(shelf.spare, index)) return false;
  shelf.spare = std::exchange(shelf.first, nullptr);
  shelf.room = kChain;
  return true;
}

}  // namespace

void* AllocateFrame(size_t bytes) {
  const size_t index = IndexOf(bytes);
  if (!NURSERY_KEEP_FRAMES || index >= kClasses) return ::operator new(bytes);
  Shelf& shelf = shelves[index];
  Block* block = shelf.first;
  if (block == nullptr) block = Refill(index);
  if (block == nullptr) return ::operator new(SizeOf(index));
  shelf.first = block->next;
  ++shelf.room;
  return block;
}

void FreeFrame(void* memory, size_t bytes) noexcept {
  const size_t index = IndexOf(bytes);
  if (NURSERY_KEEP_FRAMES && index < kClasses) {
    Shelf& shelf = shelves[index];
    if (shelf.room != 0 || MakeRoom(index)) {
      auto* const block = static_cast<Block*>(memory);
      block->next = shelf.first;
      shelf.first = block;
      --shelf.room;
      return;
    }
  }
  ::operator delete(memory);
}

}  // namespace nursery::internal
