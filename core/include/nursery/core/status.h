// Bridges between absl::Status and the standard library's types, and early return from functions
// that give a Status.
//
// The distribution's Abseil has its own string_view, which does not convert to or from
// std::string_view; every Status in this project is built and read through the functions below.
//
// Thread safety: pure functions.
//
//   if (size > kMax) return Error(absl::StatusCode::kInvalidArgument, "size is over 64");
//   NURSERY_RETURN_IF_ERROR(Validate(options));
#ifndef NURSERY_CORE_STATUS_H_
#define NURSERY_CORE_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace nursery {

// A Status of `code` (not OK) with `message`.
absl::Status Error(absl::StatusCode code, std::string_view message);

// The message of `status`, valid as long as `status` is.
std::string_view Message(const absl::Status& status);

// `status` with "`prefix`: " in front of its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

// The canonical name, as in "DEADLINE_EXCEEDED".
std::string_view CodeName(absl::StatusCode code);

// A Status for errno value `error`: "`what`: No such file or directory". The code follows the
// errno.
absl::Status ErrnoError(int error, std::string_view what);

}  // namespace nursery

// Plain functions only: coroutines write the two lines out, with a named local.
#define NURSERY_RETURN_IF_ERROR(expression)                                 \
  do {                                                                      \
    if (absl::Status nursery_status_ = (expression); !nursery_status_.ok()) \
      return nursery_status_;                                               \
  } while (false)

#endif  // NURSERY_CORE_STATUS_H_
