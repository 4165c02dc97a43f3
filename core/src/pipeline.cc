#include "nursery/core/pipeline.h"

namespace nursery::internal {

absl::Status UsedPipelineStatus() {
  return Error(absl::StatusCode::kFailedPrecondition,
               "the pipeline was used up before: it runs, or is extended, once");
}

}  // namespace nursery::internal
