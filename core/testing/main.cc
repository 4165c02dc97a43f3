// main() of the test binaries: Google Test with the leak check.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "nursery/core/mutex.h"  // knows the sanitizer
#include "nursery/testing/leak_check.h"

#ifdef NURSERY_TSAN
// absl::Status::UnrefNonInlined of Debian's Abseil, in whose place this stands. Statuses are shared
// by code that is instrumented and let go in a library that is not: the sanitizer does not see that
// the last one to let go has seen all others do so, and takes the end of the status for a race. The
// lock shows it: whoever has looked at the status lets go under it, before the next one does.
#define NURSERY_UNREF "_ZN4absl7debian36Status15UnrefNonInlinedEm"
void LetGo(uintptr_t status) asm(NURSERY_UNREF);
void LetGo(uintptr_t status) {
  using Unref = void (*)(uintptr_t);
  static const auto unref = reinterpret_cast<Unref>(dlsym(RTLD_NEXT, NURSERY_UNREF));
  static nursery::Mutex& mutex = *new nursery::Mutex;  // never destroyed: statuses may be static
  const nursery::MutexLock lock(mutex);
  unref(status);
}
#endif

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new nursery::LeakCheck);
  return RUN_ALL_TESTS();
}
