// What the public headers hide: the messages that the builder writes.
//
// Thread safety: plain data.
#ifndef NURSERY_CLIENT_SRC_MESSAGES_H_
#define NURSERY_CLIENT_SRC_MESSAGES_H_

#include <string>

#include "absl/status/statusor.h"
#include "nursery/client/job_builder.h"
#include "nursery/v1/job.pb.h"

namespace nursery::client::internal {

// `problem`: the first mistake that the message cannot show; empty: none.
struct NodeMessage {
  v1::NodeSpec spec;
  std::string problem;
};

struct JobMessage {
  v1::JobSpec spec;
  std::string problem;
};

struct ItemsMessage {
  v1::Items items;
};

// The message to send. INVALID_ARGUMENT: a mistake of the builder's user.
absl::StatusOr<v1::JobSpec> SpecOf(const Job& job);

}  // namespace nursery::client::internal

#endif  // NURSERY_CLIENT_SRC_MESSAGES_H_
