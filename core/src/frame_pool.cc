#include "nursery/core/internal/frame_pool.h"

#include <array>
#include <cstdint>
#include <new>

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
// Of each size; what a thread gets back beyond that goes to the heap.
constexpr uint32_t kMaxKept = 512;

struct Block {
  Block* next;
};

// Blocks of one size, and how many more are taken.
struct Shelf {
  Block* first = nullptr;
  uint32_t room = 0;
};

// Has no destructor: a thread may give back blocks while its other variables die.
constinit thread_local std::array<Shelf, kClasses> shelves{};

struct Closer {
  Closer() {
    for (Shelf& shelf : shelves) shelf.room = kMaxKept;
  }
  ~Closer() {
    for (Shelf& shelf : shelves) {
      shelf.room = 0;
      while (Block* block = shelf.first) {
        shelf.first = block->next;
        ::operator delete(block);
      }
    }
  }
};

// The first time, when there is no room yet, makes room until the thread ends.
[[gnu::noinline]] bool HasRoom(const Shelf& shelf) {
  thread_local const Closer closer;
  return shelf.room != 0;
}

}  // namespace

void* AllocateFrame(size_t bytes) {
  const size_t index = (bytes - 1) / kGrain;
  if (!NURSERY_KEEP_FRAMES || index >= kClasses) return ::operator new(bytes);
  Shelf& shelf = shelves[index];
  Block* const block = shelf.first;
  if (block == nullptr) return ::operator new((index + 1) * kGrain);
  shelf.first = block->next;
  ++shelf.room;
  return block;
}

void FreeFrame(void* memory, size_t bytes) noexcept {
  const size_t index = (bytes - 1) / kGrain;
  if (NURSERY_KEEP_FRAMES && index < kClasses) {
    Shelf& shelf = shelves[index];
    if (shelf.room != 0 || HasRoom(shelf)) {
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
