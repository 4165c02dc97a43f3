// Pause: what a thread does between two looks at what another one is just changing.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_PAUSE_H_
#define NURSERY_CORE_INTERNAL_PAUSE_H_

namespace nursery::internal {

// About 20 to 50 ns where the processor has an instruction for it.
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#else
  asm volatile("" ::: "memory");
#endif
}

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_PAUSE_H_
