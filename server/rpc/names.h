// Names of resources: "jobs/ID", "jobs/ID/nodes/PATH"; and page tokens.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_RPC_NAMES_H_
#define NURSERY_SERVER_RPC_NAMES_H_

#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace nursery::rpc {

struct NodeName {
  std::string job;   // its bare id
  std::string path;  // empty: the root
};

// INVALID_ARGUMENT: `name` is no "jobs/ID"; the field is called `field`.
absl::StatusOr<std::string> ParseJobName(std::string_view name, std::string_view field);
// "jobs/ID/nodes/PATH", or "jobs/ID" for the root.
absl::StatusOr<NodeName> ParseNodeName(std::string_view name, std::string_view field);
std::string NameOfNode(std::string_view job, std::string_view path);

// The number of entries of a page: 0 is 50, at most 1,000. INVALID_ARGUMENT: negative.
absl::StatusOr<int> PageSize(int wanted);

// The token of a page that begins after `position`, for the same question only: `asked` is what
// must not change from page to page.
std::string PageToken(std::string_view position, std::string_view asked);
// The position; empty for the first page. INVALID_ARGUMENT: none of ours, or that of another
// question.
absl::StatusOr<std::string> ParsePageToken(std::string_view token, std::string_view asked);

// Which of `orders` is meant; an empty one is the first. INVALID_ARGUMENT: none of them.
absl::StatusOr<size_t> ParseOrder(std::string_view order_by,
                                  std::initializer_list<std::string_view> orders);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_NAMES_H_
