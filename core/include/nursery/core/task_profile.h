// TaskProfile: the live tasks counted by where they were spawned, where they stand and what they
// do, as a goroutine profile with debug=1, and what has become more from one to the next: where
// tasks leak. It has as many groups as there are such places, however many tasks there are.
//
// Thread safety: pure functions; ProfileAllTasks from any thread.
//
//   const TaskProfile before = ProfileAllTasks();
//   ...
//   std::cerr << FormatTaskGrowth(DiffTaskProfiles(before, ProfileAllTasks()));
#ifndef NURSERY_CORE_TASK_PROFILE_H_
#define NURSERY_CORE_TASK_PROFILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/clock.h"

namespace nursery {

// Tasks that are alike, whatever their names: those are often of one task each.
struct TaskGroup {
  std::string doing;  // what they wait for, as in "semaphore", else their state
  bool cancelled = false;
  // Of one of them; ", ..." follows when others are called otherwise. One line:
  // blanks for what would break it.
  std::string name;
  std::string at;          // FILE:LINE of the co_await they stand at; empty: they came to none yet
  std::string spawned_at;  // FILE:LINE
  int64_t count = 0;
  // The longest time that one of them has done this, and the age of the oldest; 0 in a profile that
  // was parsed.
  Duration longest{};
  Duration oldest{};
};

struct TaskProfile {
  int64_t tasks = 0;
  std::vector<TaskGroup> groups;  // the largest first, then by their places
};

// Of all executors of the process.
TaskProfile ProfileAllTasks();

// "N tasks in M groups", and a block for each group.
std::string FormatTaskProfile(const TaskProfile& profile);
// What FormatTaskProfile has written. INVALID_ARGUMENT: the text is something else, as a dump that
// is not aggregated, or not all of it; with the number of the line.
absl::StatusOr<TaskProfile> ParseTaskProfile(std::string_view text);

struct TaskGrowth {
  int64_t before = 0;
  int64_t after = 0;

  int64_t difference() const { return after - before; }
};
struct GroupGrowth : TaskGrowth {
  TaskGroup group;  // of the later profile, or of the earlier one when it is in that alone
};
// Of all tasks that were spawned at a line.
struct SiteGrowth : TaskGrowth {
  std::string spawned_at;           // FILE:LINE
  std::vector<GroupGrowth> groups;  // those whose numbers differ, in the same order as the lines
};

// The lines whose numbers of tasks differ: what has grown most first, what is fewer last. Tasks
// that only do something else now are no growth.
std::vector<SiteGrowth> DiffTaskProfiles(const TaskProfile& before, const TaskProfile& after);
// A block for each, with its growth and that of its groups, and the sum above them.
std::string FormatTaskGrowth(const std::vector<SiteGrowth>& growth);

}  // namespace nursery

#endif  // NURSERY_CORE_TASK_PROFILE_H_
