#include "core/testing/seeds.h"

#include <cstdlib>
#include <iostream>
#include <string>
#include <unordered_set>

namespace nursery {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

void RunSeeds(SeededBody body) {
  const uint64_t only = FromEnvironment("NURSERY_SEED", 0);
  const uint64_t first = only == 0 ? 1 : only;
  const uint64_t last = only == 0 ? FromEnvironment("NURSERY_SEEDS", 1000) : only;
  std::unordered_set<uint64_t> schedules;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SeededExecutor executor(seed);
    absl::Status status =
        executor.Run("test", [&](Context ctx) { return body(std::move(ctx), executor); });
    schedules.insert(executor.schedule());
    if (status.ok() && !testing::Test::HasFailure()) continue;
    ADD_FAILURE() << "seed " << seed << " (NURSERY_SEED=" << seed << "): " << status;
    return;
  }
  std::cout << "  " << schedules.size() << " distinct schedules in " << last - first + 1
            << " seeds\n";
}

}  // namespace nursery
