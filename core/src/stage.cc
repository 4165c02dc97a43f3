#include "nursery/core/internal/stage.h"

namespace nursery::internal {

absl::Status ValidateStage(const StageOptions& options, const std::string& name) {
  if (options.workers >= 1 && options.buffer >= 0) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument,
               name + " has at least 1 worker and a buffer of at least 0; these are " +
                   std::to_string(options.workers) + " and " + std::to_string(options.buffer));
}

TaskName WorkerName(const TaskName& name, const StageOptions& options, int64_t index) {
  TaskName worker = name;
  if (options.workers > 1) worker.text += " " + std::to_string(index);
  return worker;
}

}  // namespace nursery::internal
