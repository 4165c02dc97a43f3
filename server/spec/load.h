// Job files: YAML or JSON text to the contract's JobSpec, checked; every violation with its line
// and column.
//
// Thread safety: pure functions, but for reading files.
//
//   absl::StatusOr<LoadedJob> loaded = LoadJobFile("nightly.yaml", options);
//   if (loaded.ok() && !loaded->violations.empty()) Print(Describe("nightly.yaml", *loaded));
#ifndef NURSERY_SERVER_SPEC_LOAD_H_
#define NURSERY_SERVER_SPEC_LOAD_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/spec/compile.h"
#include "server/spec/violation.h"

namespace nursery::v1 {
class ServerConfig;
}  // namespace nursery::v1

namespace nursery::spec {

struct LoadOptions {
  // Values of the job's params, by name.
  std::map<std::string, std::string> arguments;
  CompileOptions compile;
};

struct LoadedJob {
  // What to send. Complete only if there are no violations.
  std::shared_ptr<const v1::JobSpec> spec;
  // What to run; null if there are violations.
  std::shared_ptr<const Job> job;
  // In the order of the file, at most kMaxShownErrors; `total_violations` counts all.
  std::vector<Violation> violations;
  size_t total_violations = 0;
  std::vector<Violation> warnings;
};

// An error if the file cannot be read. `items: {file: PATH}` is relative to the file's directory.
absl::StatusOr<LoadedJob> LoadJobFile(const std::string& path, const LoadOptions& options);

// The same for text that came from `file`, a name for messages and for the job's source_file.
LoadedJob LoadJobText(std::string_view text, const std::string& file,
                      const std::string& base_directory, const LoadOptions& options);

// Reads a server's configuration; its meaning is checked by who uses it.
std::vector<Violation> LoadConfigText(std::string_view text, v1::ServerConfig& config);
// What was found wrong with the configuration that `text` is, with the places, and in their order.
std::vector<Violation> LocateInConfig(std::string_view text, std::vector<Violation> found);

// One line per violation and their number, as `nursery validate` prints them.
std::string Describe(std::string_view file, const LoadedJob& loaded);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_LOAD_H_
