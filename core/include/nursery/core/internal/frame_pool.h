// FramePool: memory of frames, task records and contexts, kept for the next ones of their size by
// the thread that gave it back. A task costs a handful of such blocks, and most tasks are short.
//
// Under the address and thread sanitizers nothing is kept, so that they see every use after free.
//
// Thread safety: any thread; a block may be given back on another one.
#ifndef NURSERY_CORE_INTERNAL_FRAME_POOL_H_
#define NURSERY_CORE_INTERNAL_FRAME_POOL_H_

#include <cstddef>

namespace nursery::internal {

// As operator new and delete; the size given back is that of the allocation.
void* AllocateFrame(size_t bytes);
void FreeFrame(void* block, size_t bytes) noexcept;

// Types that derive from it live in such memory.
struct Pooled {
  static void* operator new(size_t bytes) { return AllocateFrame(bytes); }
  static void operator delete(void* block, size_t bytes) noexcept { FreeFrame(block, bytes); }
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_FRAME_POOL_H_
