#include "nursery/core/task_observer.h"

#include <string>

#include "nursery/core/internal/snapshot.h"
#include "nursery/core/status.h"

namespace nursery {
namespace {

const ContextKey<std::shared_ptr<TaskObserver>> kObserver;

// "task 7 (fetch) of 3"
std::string Who(const TaskInfo& task) {
  std::string text = "task " + std::to_string(task.id) + " (";
  text += internal::OneLine(task.name);
  return text + ") of " + std::to_string(task.parent_id);
}

}  // namespace

Context Observed(const Context& context, std::shared_ptr<TaskObserver> observer) {
  return context.With(kObserver, std::move(observer));
}

void TaskLog::OnStart(const TaskInfo& task) noexcept {
  write_(Who(task) + " started at " + task.spawn_site.file_name() + ":" +
         std::to_string(task.spawn_site.line()) + "\n");
}

void TaskLog::OnEnd(const TaskInfo& task, Duration took, const absl::Status& status) noexcept {
  std::string line = Who(task) + " ended after " + FormatDuration(took) + ": ";
  line += CodeName(status.code());
  if (!status.ok()) line.append(": ").append(internal::OneLine(Message(status)));
  write_(line + "\n");
}

namespace internal {

TaskObserver* ObserverOf(const Context& context) {
  const std::shared_ptr<TaskObserver>* observer = context.Value(kObserver);
  return observer == nullptr ? nullptr : observer->get();
}

}  // namespace internal
}  // namespace nursery
