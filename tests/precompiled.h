// What nearly every test includes; compiled once for each test binary.
#ifndef NURSERY_TESTS_PRECOMPILED_H_
#define NURSERY_TESTS_PRECOMPILED_H_

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#endif  // NURSERY_TESTS_PRECOMPILED_H_
