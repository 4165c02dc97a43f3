// Pipeline<T>: a source, stages behind it, and somebody who takes what comes out: generate, square,
// filter.
//
// It is a plan until it is run by Each, Collect or Into; then source and stages are tasks of one
// scope, connected by channels that hold what their stage's options say. Who is slow holds up those
// before it, down to the source. The first error cancels all and is what the run returns; if there
// is none, every element has gone through every stage once. A stage whose function gives an
// optional without a value drops the element.
//
// Thread safety: a plan belongs to one task; the functions of a stage run in several at once.
// Lifetime: running or extending a plan uses it up. Suspends: Each, Collect and Into until all has
// ended. Resumes on: the executor. Cancellation: cancels all tasks and returns the cause's status.
// Order: of the source, unless a stage is not ordered.
//
//   // Async<absl::Status> Count(Context, Sender<int> out, int n)
//   // Async<absl::StatusOr<int>> Square(Context, int x)
//   auto plan = Pipeline<int>::From("count", Count, 100).Then("square", StageOptions(4), Square);
//   absl::StatusOr<std::vector<int>> squares = co_await std::move(plan).Collect(ctx);
#ifndef NURSERY_CORE_PIPELINE_H_
#define NURSERY_CORE_PIPELINE_H_

#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/stage.h"

namespace nursery {

template <class T>
class Pipeline {
 public:
  // Starts what gives the elements to the Sender, as tasks of the group.
  using Start = absl::AnyInvocable<absl::Status(Group&, Sender<T>) &&>;

  // `function(context, sender, args...)` gives an Async<absl::Status>; its return ends the stream.
  template <class Function, class... Args>
  static Pipeline From(TaskName name, Function function, Args... args);
  static Pipeline FromVector(TaskName name, std::vector<T> elements) {
    return From(std::move(name), internal::SendAll<T>, std::move(elements));
  }

  // Adds a stage: `function(context, element, args...)` gives an Async<absl::StatusOr<Out>>, or of
  // an optional, and is called with copies of `args`.
  template <class Function, class... Args>
  Pipeline<internal::StageOutput<Function, T, Args...>> Then(TaskName name, StageOptions options,
                                                             Function function, Args... args) &&;

  // Runs all, and `function(context, element, args...)`, which gives an Async<absl::Status>, on one
  // element after the other. Every run may also give INVALID_ARGUMENT: the options of a stage make
  // no sense, and FAILED_PRECONDITION: the plan was used up before.
  template <class Function, class... Args>
  Async<absl::Status> Each(Context context, Function function, Args... args) &&;
  // Runs all and gives what comes out.
  Async<absl::StatusOr<std::vector<T>>> Collect(Context context) &&;
  // Runs all and sends what comes out. The last worker closes `out`, also after an error.
  Async<absl::Status> Into(Context context, Sender<T> out) &&;

  // For Then.
  Pipeline(int64_t buffer, Start start) : buffer_(buffer), start_(std::move(start)) {}

 private:
  int64_t buffer_;  // of the channel behind the last stage; negative is refused when that starts
  Start start_;
};

}  // namespace nursery

#include "nursery/core/internal/pipeline_inl.h"

#endif  // NURSERY_CORE_PIPELINE_H_
