// A node of a job as a resource.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_DESCRIBE_NODE_H_
#define NURSERY_SERVER_RPC_DESCRIBE_NODE_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::rpc {

v1::Node ToProto(const engine::NodeView& view, const std::string& job);
// With its last attempts, as far as the log still has them. NOT_FOUND: no such node.
absl::StatusOr<v1::Node> DescribeNode(const engine::Job& job, const std::string& path);
// Nothing: it has not ended, or the log has it no more; number: from 1.
std::optional<v1::Attempt> EndedAttempt(const engine::Job& job, const std::string& path,
                                        int number);
// NOT_FOUND.
absl::Status NoNode(const engine::Job& job, const std::string& path);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_DESCRIBE_NODE_H_
