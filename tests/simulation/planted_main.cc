// main() of the test binaries with planted bugs: only seeded tests, with the bug that NURSERY_PLANT
// names. --list prints the names of the bugs that are linked in.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>

#include "nursery/core/internal/planted.h"
#include "nursery/testing/leak_check.h"
#include "nursery/testing/seeds.h"

namespace {

// No failing test: the caller asked for a bug that does not exist.
constexpr int kNoSuchBug = 64;

std::string SeededFilter() {
  std::string filter;
  for (const std::string& test : nursery::SeededTests()) filter += test + ":";
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  const auto& bugs = nursery::internal::PlantedBugs();
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (std::string_view bug : bugs) std::cout << bug << "\n";
    return 0;
  }
  const char* wanted = std::getenv("NURSERY_PLANT");
  if (wanted != nullptr && std::find(bugs.begin(), bugs.end(), wanted) == bugs.end()) {
    std::cerr << "NURSERY_PLANT: no bug '" << wanted << "' is planted here; see --list\n";
    return kNoSuchBug;
  }
  testing::InitGoogleTest(&argc, argv);
  testing::GTEST_FLAG(filter) = SeededFilter();
  testing::AddGlobalTestEnvironment(new nursery::LeakCheck);
  return RUN_ALL_TESTS();
}
