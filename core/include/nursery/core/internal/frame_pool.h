// FramePool: memory of frames, task records, contexts and causes, kept for the next ones of their
// size by the thread that gave it back. A task costs a handful of such blocks, and most tasks are
// short.
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

// What many tasks have left behind at once is kept, too, up to 64 MiB, for the next ones. Whether
// there is any.
bool HasSpareFrames();
// Gives a part of it back to the heap. An executor calls it every few milliseconds while something
// runs or is left, and gives back what it finds when it ends.
void FreeSpareFrames();

// Types that derive from it live in such memory.
struct Pooled {
  static void* operator new(size_t bytes) { return AllocateFrame(bytes); }
  static void operator delete(void* block, size_t bytes) noexcept { FreeFrame(block, bytes); }
};

// For what the standard library allocates.
template <class T>
struct PoolAllocator {
  using value_type = T;

  PoolAllocator() = default;
  template <class U>
  explicit PoolAllocator(const PoolAllocator<U>&) noexcept {}
  bool operator==(const PoolAllocator&) const { return true; }

  T* allocate(size_t count) { return static_cast<T*>(AllocateFrame(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { FreeFrame(memory, count * sizeof(T)); }
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_FRAME_POOL_H_
