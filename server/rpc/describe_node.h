// A node of a job as a resource.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_DESCRIBE_NODE_H_
#define NURSERY_SERVER_RPC_DESCRIBE_NODE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::rpc {

v1::Node ToProto(const engine::NodeView& view, const std::string& job);
// With its last attempts, as far as the log still has them. NOT_FOUND: no such node.
absl::StatusOr<v1::Node> DescribeNode(const engine::Job& job, const std::string& path);
// What is kept of the job's events above `after`, in order; gives the number of the last one.
int64_t VisitEvents(const engine::Job& job, int64_t after,
                    const std::function<void(const v1::Event&)>& visit);
// NOT_FOUND.
absl::Status NoNode(const engine::Job& job, const std::string& path);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_DESCRIBE_NODE_H_
