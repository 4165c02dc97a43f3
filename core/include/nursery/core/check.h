// NURSERY_CHECK: an assertion about our own code, active in every build. A failed check prints
// file, line, expression and the streamed message to stderr and aborts; the world's errors are
// absl::Status instead.
//
// Thread safety: any thread.
//
//   NURSERY_CHECK(count > 0) << "release without acquire";
#ifndef NURSERY_CORE_CHECK_H_
#define NURSERY_CORE_CHECK_H_

#include <memory>
#include <sstream>

namespace nursery::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* expression);
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  [[noreturn]] ~CheckFailure();

  std::ostream& stream() { return *stream_; }

 private:
  // Elsewhere: as a member it would take 400 bytes of every coroutine that checks something.
  std::unique_ptr<std::ostringstream> stream_;
};

// Gives both arms of the macro's conditional the type void.
struct Voidify {
  void operator&(std::ostream&) const {}
};

}  // namespace nursery::internal

#define NURSERY_CHECK(condition)                      \
  (__builtin_expect(static_cast<bool>(condition), 1)) \
      ? static_cast<void>(0)                          \
      : ::nursery::internal::Voidify() &              \
            ::nursery::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#endif  // NURSERY_CORE_CHECK_H_
