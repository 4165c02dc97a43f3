// The engine's limits, each with its reason. Those of validation stand in server/spec/limits.h.
#ifndef NURSERY_SERVER_ENGINE_LIMITS_H_
#define NURSERY_SERVER_ENGINE_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "server/spec/limits.h"

namespace nursery::engine {

// A job that says no timeout: long enough for a night's work, short enough that a stuck one is
// found.
inline constexpr std::chrono::nanoseconds kDefaultJobTimeout = std::chrono::hours(24);

// Errors of one job kept with their text; the rest is counted. As core's kMaxGroupErrors.
inline constexpr size_t kMaxJobErrors = 64;

// Output of an attempt kept in memory: the beginning says what it was, the end why it stopped.
inline constexpr size_t kOutputHead = 64 << 10;
inline constexpr size_t kOutputTail = 192 << 10;
static_assert(kOutputTail >= kOutputHead, "the end is worth more than the beginning");

// Output that siblings consume is kept whole up to this, in an unlinked file.
inline constexpr int64_t kOutputSpool = spec::kMaxOutputBytes;

// Attempts whose output is held for the client of a run until it has read it; those it is too slow
// for are told as a gap.
inline constexpr size_t kMaxTapped = 256;

// One expanded ${{ output.N }}: the kernel takes 128 KiB in one argument.
inline constexpr size_t kOutputInText = 64 << 10;

// Output told in an event or with the job: what a line, a path or a number needs, not a file.
inline constexpr int64_t kOutputInEvent = 16 << 10;
static_assert(kOutputInEvent <= static_cast<int64_t>(kOutputHead), "it must be in memory");

// Lines of an output that a map runs over: as many as validation lets a list have.
inline constexpr int64_t kMaxItemsOfOutput = spec::Limits().items_per_map;

// Items that a worker of a map runs before it lets others run.
inline constexpr int kItemsPerTurn = 32;

// The key of an item, which becomes a part of its path.
inline constexpr size_t kMaxKeyBytes = 256;

// Failed items of one map shown with their names; the rest is counted.
inline constexpr size_t kMaxShownItems = 16;

// Actions named that still ran when a deadline passed.
inline constexpr size_t kMaxStillRunning = 8;

// A shorter wait for a semaphore explains nothing.
inline constexpr std::chrono::nanoseconds kNoticeableWait = std::chrono::milliseconds(10);

// stderr shown with an error: what fits on a screen.
inline constexpr size_t kErrorLines = 20;

// Events kept for watchers of an ephemeral job; who comes later gets a gap.
inline constexpr size_t kEventLogBytes = 4 << 20;

// Ended items are told at most so often, so that a million of them stay a few hundred events.
inline constexpr std::chrono::nanoseconds kItemsFlush = std::chrono::milliseconds(50);

// Survivors named on a receipt; the rest is counted.
inline constexpr size_t kMaxSurvivors = 100;

// Cancels of one job whose accounts are kept for whoever asks for the same once more.
inline constexpr size_t kMaxCancels = 16;

// About what a node takes of memory until it is packed.
inline constexpr size_t kBytesOfNode = 400;

// Waiting raises a node by one priority class each.
inline constexpr std::chrono::nanoseconds kPriorityAging = std::chrono::seconds(60);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_LIMITS_H_
