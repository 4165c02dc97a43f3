// TaskObserver: is told when tasks start and end, for logs and traces; and TaskLog, which writes a
// line for each.
//
// An observer belongs to a context: it sees the tasks of all groups that are opened below it. Where
// there is none, a task pays for a comparison with null.
//
// Thread safety: an observer is called by several threads at once. Lifetime: the context keeps its
// observer.
//
//   auto log = std::make_shared<TaskLog>(
//       [](std::string_view line) noexcept { fwrite(line.data(), 1, line.size(), stderr); });
//   GroupResult result = co_await WithGroup(Observed(ctx, log), GroupOptions(), Body);
//   // task 7 (fetch) of 3 started at fetch.cc:12
//   // task 7 (fetch) of 3 ended after 0.01s: UNAVAILABLE: no route
#ifndef NURSERY_CORE_TASK_OBSERVER_H_
#define NURSERY_CORE_TASK_OBSERVER_H_

#include <memory>
#include <source_location>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "nursery/core/clock.h"
#include "nursery/core/context.h"

namespace nursery {

// What is known of a task, valid during the call.
struct TaskInfo {
  uint64_t id = 0;
  uint64_t parent_id = 0;
  std::string_view name;
  std::source_location spawn_site;
};

class TaskObserver {
 public:
  virtual ~TaskObserver() = default;

  // The task was spawned and is about to run.
  virtual void OnStart(const TaskInfo& task) noexcept = 0;
  // The task has ended, `took` after its spawn, to a few milliseconds; what it held is gone, and
  // its group does not know yet.
  virtual void OnEnd(const TaskInfo& task, Duration took, const absl::Status& status) noexcept = 0;
};

// A child context with `observer`, in place of that of `context`.
Context Observed(const Context& context, std::shared_ptr<TaskObserver> observer);

class TaskLog final : public TaskObserver {
 public:
  // Gets a whole line with its newline; called by several threads at once.
  using Write = absl::AnyInvocable<void(std::string_view line) const noexcept>;
  explicit TaskLog(Write write) : write_(std::move(write)) {}

  void OnStart(const TaskInfo& task) noexcept override;
  void OnEnd(const TaskInfo& task, Duration took, const absl::Status& status) noexcept override;

 private:
  const Write write_;
};

namespace internal {
// Null when there is none; valid as long as `context`.
TaskObserver* ObserverOf(const Context& context);
}  // namespace internal

}  // namespace nursery

#endif  // NURSERY_CORE_TASK_OBSERVER_H_
