// Planted bugs: deliberate mistakes that the tests must find. Only a build with
// NURSERY_PLANTED_BUGS has them; elsewhere PLANTED is the constant false.
#ifndef NURSERY_CORE_INTERNAL_PLANTED_H_
#define NURSERY_CORE_INTERNAL_PLANTED_H_

#if defined(NURSERY_PLANTED_BUGS)

#include <atomic>
#include <string_view>

namespace nursery::internal {

// The bug that is switched on; empty for none. Set between runs only.
inline std::string_view planted_bug;

}  // namespace nursery::internal

#define PLANTED(name) (::nursery::internal::planted_bug == #name)
#else
#define PLANTED(name) false
#endif

#endif  // NURSERY_CORE_INTERNAL_PLANTED_H_
