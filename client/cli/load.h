// From what the command line names to a validated job, or a message that says what is wrong.
#ifndef NURSERY_CLIENT_CLI_LOAD_H_
#define NURSERY_CLIENT_CLI_LOAD_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "server/spec/load.h"

namespace nursery::cli {

// What stands in `path`; "-": in stdin. INVALID_ARGUMENT: it is over the 16 MiB of a job's files.
absl::StatusOr<std::string> ReadInput(const std::string& path);

// INVALID_ARGUMENT: a parameter is not NAME=VALUE; NOT_FOUND and the like: the file cannot be read.
// `compile`: what names the job may use; without them, any, for who asks a server.
absl::StatusOr<spec::LoadedJob> LoadFile(const std::string& file,
                                         const std::vector<std::string>& parameters,
                                         spec::CompileOptions compile);
// `command` as a job of one process, or of a map over the lines of options.each_line.
absl::StatusOr<spec::LoadedJob> LoadCommand(const RunOptions& options);

// What is wrong with `file`, to stderr, a line for each mistake.
void PrintViolations(const std::string& file, const spec::LoadedJob& loaded);

// `loaded` with `timeout` as the bound of the whole job, none if unset; `compile` is that of the
// load. A timeout that is out of range is a violation.
spec::LoadedJob WithTimeout(spec::LoadedJob loaded, std::optional<std::chrono::nanoseconds> timeout,
                            const spec::CompileOptions& compile);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_LOAD_H_
