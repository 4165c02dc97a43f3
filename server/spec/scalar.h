// How job files write durations, sizes and numbers.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_SPEC_SCALAR_H_
#define NURSERY_SERVER_SPEC_SCALAR_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace nursery::spec {

// 250ms, 10s, 1.5h, 1h30m: units d, h, m, s, ms, us, each at most once, largest first.
absl::StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text);

// As a file would write it: 1h30m, 250ms, 0s.
std::string FormatDuration(std::chrono::nanoseconds duration);

// 100B, 64KiB, 1.5MiB, 2GiB, 1TiB.
absl::StatusOr<int64_t> ParseSize(std::string_view text);

absl::StatusOr<int64_t> ParseInteger(std::string_view text);

// 0.2, 1e3, or 20% for 0.2.
absl::StatusOr<double> ParseNumber(std::string_view text);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_SCALAR_H_
