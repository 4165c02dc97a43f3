#include "server/rpc/places.h"

#include "nursery/core/status.h"
#include "server/rpc/errors.h"

namespace nursery::rpc {

bool Places::Take() {
  if (taken_.fetch_add(1) < limit_) return true;
  taken_.fetch_sub(1);
  return false;
}

absl::Status Places::Refusal(const std::string& what) const {
  const std::string text = "the limit of " + std::to_string(limit_) + " " + what + " is reached";
  return WithRetry(WithReason(Error(absl::StatusCode::kResourceExhausted, text),
                              v1::ERROR_REASON_TOO_MANY_CALLS),
                   std::chrono::seconds(1));
}

}  // namespace nursery::rpc
