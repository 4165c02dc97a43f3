// What the commands share that speak to a server: finding it, and the job that somebody means.
//
// Thread safety: one thread.
#ifndef NURSERY_CLIENT_CLI_REMOTE_H_
#define NURSERY_CLIENT_CLI_REMOTE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "client/src/connection.h"
#include "server/engine/job.h"

namespace nursery::cli {

// That of --server, else of NURSERY_SERVER, else the local socket.
std::string AddressOf(const ServerOptions& options);
// The server at that address.
absl::StatusOr<std::unique_ptr<client::Connection>> Connect(const ServerOptions& options);

// The job that `word` means: an id, the unique beginning of one, or a name, the last one of which
// counts. INVALID_ARGUMENT: it fits several; NOT_FOUND: none.
absl::StatusOr<v1::Job> FindJob(client::Connection& connection, const std::string& word);

// The nodes of `job` that `filter` chooses (empty: all), parents before children, as the renderer
// takes them; pages of them until there are `limit`.
absl::StatusOr<std::vector<engine::NodeView>> ListNodes(client::Connection& connection,
                                                        const v1::Job& job,
                                                        const std::string& filter, size_t limit,
                                                        const client::CallOptions& call);
// For a picture: a page of them at most, with what fails or runs before the rest.
absl::StatusOr<std::vector<engine::NodeView>> ListUrgentNodes(client::Connection& connection,
                                                              const v1::Job& job,
                                                              const client::CallOptions& call);

// Prints the error of a remote command and gives its exit code.
int ComplainOf(const absl::Status& status);

// Tells on stderr which limits the job asks for and the server cannot enforce.
void WarnOfLimits(const v1::Job& job);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_REMOTE_H_
