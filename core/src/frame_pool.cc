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

void CloseAtThreadEnd();

// Has no destructor: a thread may give back blocks while its other variables die.
class Kept {
 public:
  void Close() {
    for (Block*& first : lists_) {
      while (first != nullptr) ::operator delete(Take(first));
    }
    counts_.fill(kMaxKept);  // takes no more
  }

  void* Pop(size_t index) {
    if (lists_[index] == nullptr) return nullptr;
    --counts_[index];
    return Take(lists_[index]);
  }
  bool Push(size_t index, void* memory) {
    if (counts_[index] == kMaxKept) return false;
    if (!closes_) CloseAtThreadEnd();
    closes_ = true;
    auto* const block = static_cast<Block*>(memory);
    block->next = lists_[index];
    lists_[index] = block;
    ++counts_[index];
    return true;
  }

 private:
  static Block* Take(Block*& first) {
    Block* const block = first;
    first = block->next;
    return block;
  }

  std::array<Block*, kClasses> lists_{};
  std::array<uint32_t, kClasses> counts_{};
  bool closes_ = false;  // at the thread's end
};

constinit thread_local Kept kept;

struct Closer {
  ~Closer() { kept.Close(); }
};

void CloseAtThreadEnd() { thread_local Closer closer; }

}  // namespace

void* AllocateFrame(size_t bytes) {
  const size_t index = (bytes - 1) / kGrain;
  if (!NURSERY_KEEP_FRAMES || index >= kClasses) return ::operator new(bytes);
  if (void* block = kept.Pop(index)) return block;
  return ::operator new((index + 1) * kGrain);
}

void FreeFrame(void* block, size_t bytes) noexcept {
  const size_t index = (bytes - 1) / kGrain;
  if (NURSERY_KEEP_FRAMES && index < kClasses && kept.Push(index, block)) return;
  ::operator delete(block);
}

}  // namespace nursery::internal
