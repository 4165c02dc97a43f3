#include "nursery/core/internal/stage.h"

#include <limits>

namespace nursery::internal {

absl::Status ValidateStage(const StageOptions& options, std::string_view name) {
  // Their sum bounds what is under way.
  const bool fits = options.buffer <= std::numeric_limits<int64_t>::max() - options.workers;
  if (options.workers >= 1 && options.buffer >= 0 && fits) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument,
               std::string(name) +
                   " has at least 1 worker and a buffer of at least 0, together below 2^63; these "
                   "are " +
                   std::to_string(options.workers) + " and " + std::to_string(options.buffer));
}

TaskName WorkerName(const TaskName& name, const StageOptions& options, int64_t index) {
  return options.workers > 1 ? Extended(name, std::to_string(index)) : name;
}

}  // namespace nursery::internal
