#include "nursery/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace nursery::internal {

CheckFailure::CheckFailure(const char* file, int line, const char* expression)
    : stream_(std::make_unique<std::ostringstream>()) {
  *stream_ << file << ":" << line << ": check failed: " << expression << " ";
}

CheckFailure::~CheckFailure() {
  std::fprintf(stderr, "%s\n", stream_->str().c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace nursery::internal
