// What a job may be at most, each with its reason. The server's configuration may lower the first
// three.
#ifndef NURSERY_SERVER_SPEC_LIMITS_H_
#define NURSERY_SERVER_SPEC_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace nursery::spec {

struct Limits {
  // 400 bytes each while it is live: 40 MB for the largest job.
  int64_t nodes_per_job = 100'000;
  // Four bytes of offset each: 40 MB for the largest list.
  int64_t items_per_map = 10'000'000;
  // The largest gRPC message that the server takes.
  int64_t spec_bytes = 16 << 20;
  // Largest bound of a `finally`: it runs on after a cancel.
  std::chrono::nanoseconds max_finally = std::chrono::minutes(5);
};

// Recursion in validation and in the engine's joins; messages nest at most 100 deep anyway.
inline constexpr int kMaxDepth = 32;
// Every exclusion is tried on every combination once: ten million tries.
inline constexpr int64_t kMaxExclusions = 100;
inline constexpr int64_t kMaxFilteredCombinations = 100'000;
// Keys of a list of items that validation compares; the rest is compared while the map runs.
inline constexpr int64_t kMaxKeysChecked = 10'000;
// Each is looked up in every item: a key with more is left to the run.
inline constexpr size_t kMaxKeyPiecesChecked = 8;
// Names become file names, label values and terminal columns.
inline constexpr size_t kMaxNameBytes = 64;
inline constexpr size_t kMaxLabels = 64;
inline constexpr size_t kMaxLabelBytes = 256;
// MAX_ARG_STRLEN of the kernel, its terminating NUL included.
inline constexpr size_t kMaxArgumentBytes = 128 << 10;
// Every acquisition is compared with the others of its node; a job needs a handful.
inline constexpr int kMaxSemaphores = 1'000;
// Every axis is compared with the others; more than 24 of two values are over the items' limit.
inline constexpr int kMaxAxes = 64;
inline constexpr int64_t kMaxPermits = 1'000'000'000;
// Each worker of a map is a task, busy or not.
inline constexpr int64_t kMaxWorkers = 10'000;
// Output that is kept whole for those who read it.
inline constexpr int64_t kMaxOutputBytes = int64_t{64} << 20;
// A pool's slots for the `finally` of inner nodes, beside those for work, for each job: clean-up
// waits neither for work nor for other jobs.
inline constexpr int kCleanupSlots = 2;
// Between SIGTERM and SIGKILL of a `finally`, at most.
inline constexpr std::chrono::nanoseconds kMaxFinallyGrace = std::chrono::seconds(5);
// Pools are told apart by a uint16_t in each node; a job that uses more has made a mistake.
inline constexpr size_t kMaxPools = 1'000;
inline constexpr int kMaxAttempts = 1'000;
// Ten years: in nanoseconds, far from the end of int64_t, so that sums cannot overflow.
inline constexpr std::chrono::nanoseconds kMaxDuration = std::chrono::hours(87'600);

// A job file, and a file of items: what is sent must fit into one message.
inline constexpr size_t kMaxFileBytes = 16 << 20;
// The parser recurses per level.
inline constexpr int kMaxFileDepth = 100;
// Aliases may make a file so many times larger than it is.
inline constexpr uint64_t kMaxAliasExpansion = 10;
// Errors that are shown, and errors that are kept until they are sorted.
inline constexpr size_t kMaxShownErrors = 50;
// Limits of a job that are named as not enforced; each attempt says it of its own.
inline constexpr size_t kMaxToldLimits = 20;
inline constexpr size_t kMaxKeptErrors = 1'000;

static_assert(kMaxFilteredCombinations * kMaxExclusions <= 10'000'000);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_LIMITS_H_
