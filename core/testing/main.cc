// main() of the test binaries: Google Test with the leak check.
#include <gtest/gtest.h>

#include "core/testing/leak_check.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new nursery::LeakCheck);
  return RUN_ALL_TESTS();
}
