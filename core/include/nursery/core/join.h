// Join: when a group has succeeded, when it has failed, and what it tells about its tasks.
//
// Thread safety: values; a JoinState is guarded by its owner.
//
//   GroupOptions options;
//   options.join = Join::Quorum(2);
#ifndef NURSERY_CORE_JOIN_H_
#define NURSERY_CORE_JOIN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "nursery/core/cause.h"

namespace nursery {

struct Join {
  enum class Kind : uint8_t { kAll, kCollect, kAny, kQuorum, kMaxFailures };

  // All must succeed; the first failure cancels the rest.
  static Join All() { return {Kind::kAll, 0}; }
  // Waits for all, keeps every error; fails when any failed.
  static Join Collect() { return {Kind::kCollect, 0}; }
  // The first success cancels the rest; fails when none can succeed any more: as the first failure,
  // or FAILED_PRECONDITION if there was none.
  static Join Any() { return {Kind::kAny, 1}; }
  // `count` successes cancel the rest; fails as soon as they cannot be reached any more: once the
  // body has ended, what tasks may still spawn does not count. count >= 1.
  static Join Quorum(int64_t count) { return {Kind::kQuorum, count}; }
  // Up to `count` failures are tolerated; one more cancels the rest. What ends because the group's
  // own context did is none, but then the group ends as that says. count >= 0.
  static Join MaxFailures(int64_t count) { return {Kind::kMaxFailures, count}; }

  // Whether it asks how many have succeeded.
  bool wants_success() const { return kind == Kind::kAny || kind == Kind::kQuorum; }

  Kind kind = Kind::kAll;
  int64_t count = 0;
};

struct GroupOptions {
  GroupOptions() = default;

  Join join = Join::All();
  // At most so many tasks at once; 0: no limit.
  int64_t limit = 0;
  // Its tasks are started also beyond the executor's limit of live tasks, in which they count: for
  // those whose number something else bounds.
  bool beyond_max_tasks = false;
};

// Errors kept with their text by one group; the rest is counted.
inline constexpr size_t kMaxGroupErrors = 64;

struct GroupError {
  std::string task;
  absl::Status status;
};

struct [[nodiscard]] GroupResult {
  GroupResult() = default;

  // OK, or the error that decided.
  absl::Status status;
  // In the order in which the tasks ended. A task that ended because the group was decided, or for
  // MaxFailures because its context was, with what it was told or an Annotate of it, is no error.
  std::vector<GroupError> errors;
  int64_t error_count = 0;
  int64_t succeeded = 0;
  int64_t cancelled = 0;
};

struct GroupStats {
  int64_t running = 0;
  int64_t spawned = 0;  // a few more or less while tasks end
  int64_t succeeded = 0;
  int64_t failed = 0;
};

namespace internal {

// INVALID_ARGUMENT: a limit or a count that makes no sense.
absl::Status Validate(const Join& join);
absl::Status Validate(const GroupOptions& options);

// Pure accounting of one group.
class JoinState {
 public:
  explicit JoinState(Join join) : join_(join) {}

  // Each gives a cause when, and only when, it decided the group: whoever still runs is to be
  // cancelled. `outside` gives what the group's context says; it is asked where that matters.
  std::optional<Cause> OnTaskEnded(std::string_view name, const absl::Status& status,
                                   absl::FunctionRef<absl::Status()> outside);
  std::optional<Cause> OnBodyEnded(const absl::Status& status);
  // Somebody asked for the end; `status` is what all are told.
  std::optional<Cause> OnStopped(const absl::Status& status);
  // `running` tasks are left, and the body adds none.
  std::optional<Cause> OnRemaining(int64_t running);

  bool decided() const { return decided_; }
  const GroupResult& result() const { return result_; }
  GroupResult TakeResult();

 private:
  std::optional<Cause> Decide(CauseKind kind, absl::Status outcome, absl::Status for_others);
  std::optional<Cause> OnFailure(std::string_view name, const absl::Status& status);
  std::optional<Cause> OnSuccess();

  const Join join_;
  bool decided_ = false;
  absl::Status told_;       // what the cancelled ones were told
  absl::Status cut_short_;  // what ended some that count as no failure
  GroupResult result_;
};

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_JOIN_H_
