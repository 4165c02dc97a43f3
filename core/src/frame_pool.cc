#include "nursery/core/internal/frame_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "nursery/core/internal/thread_variable.h"
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
// Left to others for good, of each size: so many chains, and so many bytes but for the first.
constexpr size_t kMostChains = 16;
constexpr size_t kMostBytes = size_t{1} << 20;
// And of all sizes together so many bytes more, until FreeSpareFrames has given them back: the heap
// would take a third of the time in which a hundred thousand tasks end.
constexpr size_t kMostSpareBytes = size_t{64} << 20;
// What one call of FreeSpareFrames gives back takes about 0.2 ms.
constexpr int kFreedAtOnce = 16;

struct Block {
  Block* next;
};
// The first block of one that is left to others. The smallest blocks have no room for it.
struct Chain : Block {
  Chain* below;
};
constexpr bool MayBeLeft(size_t index) { return SizeOf(index) >= sizeof(Chain); }

constexpr size_t ChainBytes(size_t index) { return kChain * SizeOf(index); }

// Of all depots.
constinit std::atomic<size_t> spare_bytes{0};

bool TakeSpareBytes(size_t bytes) {
  size_t seen = spare_bytes.load(std::memory_order_relaxed);
  do {
    if (seen + bytes > kMostSpareBytes) return false;
  } while (!spare_bytes.compare_exchange_weak(seen, seen + bytes, std::memory_order_relaxed));
  return true;
}

// Chains of one size that are left to whoever needs one.
class Depot {
 public:
  // False: there are enough.
  bool Give(Block* chain, size_t index) {
    MutexLock lock(mutex_);
    const size_t count = count_.load(std::memory_order_relaxed);
    if (count >= Kept(index) && !TakeSpareBytes(ChainBytes(index))) return false;
    auto* const top = static_cast<Chain*>(chain);
    top->below = top_;
    top_ = top;
    count_.store(count + 1, std::memory_order_relaxed);
    return true;
  }
  // Null: there is none.
  Block* Take(size_t index) {
    return count_.load(std::memory_order_relaxed) == 0 ? nullptr : TakeBeyond(0, index);
  }
  // Null: there is none beyond those that are kept for good.
  Block* TakeSpare(size_t index) {
    const size_t kept = Kept(index);
    return count_.load(std::memory_order_relaxed) <= kept ? nullptr : TakeBeyond(kept, index);
  }

 private:
  static constexpr size_t Kept(size_t index) {
    return std::clamp<size_t>(kMostBytes / ChainBytes(index), 1, kMostChains);
  }
  Block* TakeBeyond(size_t kept, size_t index) {
    MutexLock lock(mutex_);
    const size_t count = count_.load(std::memory_order_relaxed);
    if (count <= kept) return nullptr;
    if (count > Kept(index)) spare_bytes.fetch_sub(ChainBytes(index), std::memory_order_relaxed);
    count_.store(count - 1, std::memory_order_relaxed);
    return std::exchange(top_, top_->below);
  }

  Mutex mutex_;
  std::atomic<size_t> count_{0};  // changed under the lock
  Chain* top_ NURSERY_GUARDED_BY(mutex_) = nullptr;
};

// Blocks of one size that this thread keeps.
struct Shelf {
  Block* first = nullptr;
  uint32_t room = 0;       // how many more make `first` a whole chain
  Block* spare = nullptr;  // a whole chain, or none
};

using Shelves = std::array<Shelf, kClasses>;

// Empty and without room, where a thread keeps nothing: before it has shelves of its own, and while
// its other variables die, which may give back blocks.
constinit Shelves closed{};
NURSERY_THREAD_VARIABLE Shelf* shelves = closed.data();

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

// The shelves of a thread, from its first block to its end.
class OwnShelves {
 public:
  OwnShelves() : own_(new(std::nothrow) Shelves) {
    if (own_ == nullptr) return;
    for (Shelf& shelf : *own_) shelf.room = kChain;
    shelves = own_->data();
  }
  OwnShelves(const OwnShelves&) = delete;
  OwnShelves& operator=(const OwnShelves&) = delete;
  ~OwnShelves() {
    shelves = closed.data();
    if (own_ == nullptr) return;
    for (const Shelf& shelf : *own_) {
      FreeChain(shelf.first);
      FreeChain(shelf.spare);
    }
  }

 private:
  const std::unique_ptr<Shelves> own_;
};

// The first time makes room until the thread ends; whether there is any.
bool IsOpen() {
  thread_local const OwnShelves own;
  return shelves != closed.data();
}

Block* Take(Shelf& shelf) {
  Block* const block = shelf.first;
  shelf.first = block->next;
  ++shelf.room;
  return block;
}

void Put(Block* block, Shelf& shelf) {
  block->next = shelf.first;
  shelf.first = block;
  --shelf.room;
}

// Puts a chain into the empty shelf; false: there is none.
bool Refill(size_t index) {
  if (!IsOpen()) return false;
  Shelf& shelf = shelves[index];
  Block* const chain =
      shelf.spare != nullptr ? std::exchange(shelf.spare, nullptr) : Depots()[index].Take(index);
  if (chain == nullptr) return false;
  shelf.first = chain;
  shelf.room = 0;
  return true;
}

bool MakeRoom(size_t index) {
  if (!IsOpen()) return false;
  Shelf& shelf = shelves[index];
  if (shelf.room != 0) return true;
  if (shelf.spare != nullptr) {
    if (!MayBeLeft(index) || !Depots()[index].Give(shelf.spare, index)) return false;
  }
  shelf.spare = std::exchange(shelf.first, nullptr);
  shelf.room = kChain;
  return true;
}

// What is rare is in functions of its own, which are called last: what is not then saves no
// registers.
[[gnu::noinline]] void* AllocateRarely(size_t bytes) {
  const size_t index = IndexOf(bytes);
  if (!NURSERY_KEEP_FRAMES || index >= kClasses) return ::operator new(bytes);
  return Refill(index) ? Take(shelves[index]) : ::operator new(SizeOf(index));
}

[[gnu::noinline]] void FreeRarely(void* memory, size_t index) noexcept {
  if (NURSERY_KEEP_FRAMES && index < kClasses && MakeRoom(index)) {
    Put(static_cast<Block*>(memory), shelves[index]);
  } else {
    ::operator delete(memory);
  }
}

}  // namespace

void* AllocateFrame(size_t bytes) {
  const size_t index = IndexOf(bytes);
  if (NURSERY_KEEP_FRAMES && index < kClasses && shelves[index].first != nullptr) {
    return Take(shelves[index]);
  }
  return AllocateRarely(bytes);
}

void FreeFrame(void* memory, size_t bytes) noexcept {
  const size_t index = IndexOf(bytes);
  if (NURSERY_KEEP_FRAMES && index < kClasses && shelves[index].room != 0) {
    return Put(static_cast<Block*>(memory), shelves[index]);
  }
  FreeRarely(memory, index);
}

bool HasSpareFrames() { return spare_bytes.load(std::memory_order_relaxed) != 0; }

void FreeSpareFrames() {
  int left = kFreedAtOnce;
  for (size_t index = 0; index < kClasses && left > 0 && HasSpareFrames(); ++index) {
    while (left > 0) {
      Block* const chain = Depots()[index].TakeSpare(index);
      if (chain == nullptr) break;
      FreeChain(chain);
      --left;
    }
  }
}

}  // namespace nursery::internal
