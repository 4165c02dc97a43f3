// From the nodes that a server lists to those that pictures are made of.
//
// Thread safety: a pure function.
#ifndef NURSERY_CLIENT_CLI_NODE_VIEW_H_
#define NURSERY_CLIENT_CLI_NODE_VIEW_H_

#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::cli {

// `node` of `job` as it was when the job was described.
engine::NodeView ViewOf(const v1::Node& node, const v1::Job& job);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_NODE_VIEW_H_
