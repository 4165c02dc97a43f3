// The forms of a dump, rendered from snapshots; the aggregated one stands in task_profile.h.
//
// Thread safety: pure functions.
#ifndef NURSERY_CORE_INTERNAL_RENDER_DUMP_H_
#define NURSERY_CORE_INTERNAL_RENDER_DUMP_H_

#include <string>
#include <string_view>
#include <vector>

#include "nursery/core/internal/snapshot.h"

namespace nursery {

struct TaskProfile;

namespace internal {

// A block for each task, with the chain of the tasks that it runs in.
std::string RenderText(const TaskSnapshot& snapshot);
// The same behind `text`: a large one is not to be copied.
void AppendDump(const TaskSnapshot& snapshot, std::string& text);
// {"executors":[{"tasks":[...]}]}: a list of the tasks of each executor, which name their parents.
std::string RenderJson(const std::vector<TaskSnapshot>& snapshots);
// "all tasks are asleep", first those for which the others wait, then all, then the wait cycles.
std::string DescribeSleepers(std::vector<TaskSnapshot> snapshots);
inline constexpr std::string_view kAsleep = "all tasks are asleep";
TaskProfile Profile(const std::vector<TaskSnapshot>& snapshots);

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_RENDER_DUMP_H_
