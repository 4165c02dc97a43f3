#include <cstdio>

#include "client/cli/commands.h"
#include "client/cli/load.h"
#include "nursery/core/clock.h"
#include "nursery/core/status.h"
#include "server/app/embedded.h"
#include "server/spec/json.h"

namespace nursery::cli {
namespace {

std::string ViolationJson(const spec::Violation& violation) {
  return "{\"path\":" + spec::JsonQuote(violation.path) +
         ",\"line\":" + std::to_string(violation.line) +
         ",\"column\":" + std::to_string(violation.column) +
         ",\"message\":" + spec::JsonQuote(violation.message) + "}";
}

std::string ListJson(const std::vector<spec::Violation>& violations) {
  std::string text = "[";
  for (const spec::Violation& violation : violations) {
    if (text.size() > 1) text += ",";
    text += ViolationJson(violation);
  }
  return text + "]";
}

}  // namespace

int Validate(const ValidateOptions& options) {
  absl::StatusOr<spec::LoadedJob> loaded =
      LoadFile(options.file, options.parameters, app::Embedded::CompileOptions());
  if (!loaded.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(Message(loaded.status())).c_str());
    return kUsage;
  }
  const bool valid = loaded->job != nullptr;
  if (options.output.json) {
    std::printf("{\"valid\":%s,\"violations\":%s,\"total_violations\":%zu,\"warnings\":%s}\n",
                valid ? "true" : "false", ListJson(loaded->violations).c_str(),
                loaded->total_violations, ListJson(loaded->warnings).c_str());
    return valid ? kSucceeded : kUsage;
  }
  for (const spec::Violation& warning : loaded->warnings) {
    std::fprintf(stderr, "warning: %s\n", spec::Format(warning, options.file).c_str());
  }
  if (!valid) {
    PrintViolations(options.file, *loaded);
    return kUsage;
  }
  std::printf("%s: valid, %zu nodes, a cancel is complete within %s\n", options.file.c_str(),
              loaded->job->nodes.size(), FormatDuration(loaded->job->max_teardown).c_str());
  return kSucceeded;
}

}  // namespace nursery::cli
