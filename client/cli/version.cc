#include <cstdio>

#include "client/cli/commands.h"

namespace nursery::cli {

int Version(const OutputOptions& options) {
  if (options.json) {
    std::printf("{\"version\":\"%s\"}\n", NURSERY_VERSION);
  } else {
    std::printf("nursery %s\n", NURSERY_VERSION);
  }
  return kSucceeded;
}

}  // namespace nursery::cli
