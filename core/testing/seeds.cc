#include "nursery/testing/seeds.h"

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <unordered_set>

namespace nursery {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::atomic<uint64_t> running_seed = 0;

void NameSeed(int signal) {
  char text[64] = "\ncrashed under NURSERY_SEED=";
  char* end = std::to_chars(text + std::strlen(text), text + sizeof text - 1, running_seed).ptr;
  *end++ = '\n';
  [[maybe_unused]] ssize_t put = write(STDERR_FILENO, text, static_cast<size_t>(end - text));
  raise(signal);
}

// Leaves a sanitizer's handlers alone.
void NameSeedInCrashes() {
  for (int signal : {SIGABRT, SIGSEGV}) {
    struct sigaction before;
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_DFL) continue;
    struct sigaction action = {};
    action.sa_handler = NameSeed;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

std::vector<std::string>& SeededTests() {
  static auto& tests = *new std::vector<std::string>;
  return tests;
}

bool NoteSeededTest(std::string name) {
  SeededTests().push_back(std::move(name));
  return true;
}

void RunSeeds(const SeededBody& body) {
  NameSeedInCrashes();
  const uint64_t only = FromEnvironment("NURSERY_SEED", 0);
  const uint64_t first = only == 0 ? 1 : only;
  const uint64_t last = only == 0 ? FromEnvironment("NURSERY_SEEDS", 1000) : only;
  std::unordered_set<uint64_t> schedules;
  for (uint64_t seed = first; seed <= last; ++seed) {
    running_seed = seed;
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
