// A stage: workers that take elements from a channel, call a function on each and pass on what it
// gives. ParallelMap is one stage, a Pipeline several.
//
// In an ordered stage the workers take numbers with the elements. Invariants:
//  1. An element has a place from before it is taken until it was passed on: at most workers +
//     buffer elements are in the stage.
//  2. The turn to take is held while an element is received and numbered, so that numbers follow
//     the channel's order.
//  3. Who has finished an element puts it down and waits for the exit, where it passes on whatever
//     is next: an element that is put down never stays behind.
#ifndef NURSERY_CORE_INTERNAL_STAGE_H_
#define NURSERY_CORE_INTERNAL_STAGE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/mutex.h"
#include "nursery/core/semaphore.h"
#include "nursery/core/status.h"

namespace nursery {

struct StageOptions {
  StageOptions() = default;
  explicit StageOptions(int64_t the_workers, int64_t the_buffer = 0, bool is_ordered = true)
      : workers(the_workers), buffer(the_buffer), ordered(is_ordered) {}

  // At least 1.
  int64_t workers = 1;
  // Results that may wait behind the workers, at least 0. An ordered stage of several workers holds
  // up to as many more, which wait for a slower one before them.
  int64_t buffer = 0;
  // Results leave in the order of their elements; else as they are ready.
  bool ordered = true;
};

namespace internal {

// What a stage passes on of what its function gives: the value; of an optional that, or nothing.
template <class T>
struct Passes {
  using Type = T;
};
template <class T>
struct Passes<std::optional<T>> {
  using Type = T;
};

// Function gives an Async<absl::StatusOr<...>>.
template <class Function, class In, class... Args>
using StageOutput = typename Passes<
    typename std::invoke_result_t<Function&, Context, In, Args&...>::value_type::value_type>::Type;

absl::Status ValidateStage(const StageOptions& options, std::string_view name);
// The name of worker `index` of `options.workers`.
TaskName WorkerName(const TaskName& name, const StageOptions& options, int64_t index);

template <class Out>
class Reorder {
 public:
  struct Done {
    Done(std::optional<Out> the_value, Permit the_place)
        : value(std::move(the_value)), place(std::move(the_place)) {}
    std::optional<Out> value;  // none: the element was dropped
    Permit place;
  };

  explicit Reorder(const StageOptions& options)
      : places(PLANTED(reorder_unbounded) ? 1'000'000 : options.workers + options.buffer) {}

  // Of whoever holds the turn.
  int64_t TakeNumber() NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return taken_++;
  }
  void Put(int64_t number, Done done) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    done_.emplace(number, std::move(done));
  }
  // What is next in order, if it was put down. Of whoever holds the exit.
  std::optional<Done> TakeNext() NURSERY_EXCLUDES(mutex_) {
    std::optional<Done> next;
    MutexLock lock(mutex_);
    const auto first = done_.begin();
    if (first == done_.end()) return next;
    if (first->first != left_ && !PLANTED(order_ignored)) return next;
    next.emplace(std::move(first->second));
    done_.erase(first);
    ++left_;
    return next;
  }

  Semaphore places;
  Semaphore turn{1};
  Semaphore exit{1};

 private:
  Mutex mutex_;
  int64_t taken_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t left_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Done> done_ NURSERY_GUARDED_BY(mutex_);
};

template <class Out>
Async<absl::Status> PassOn(Context context, std::shared_ptr<Reorder<Out>> order, Sender<Out> out) {
  absl::StatusOr<Permit> exit = co_await order->exit.Acquire(context);
  if (!exit.ok()) co_return exit.status();
  for (;;) {
    std::optional<typename Reorder<Out>::Done> next = order->TakeNext();
    if (!next) co_return absl::OkStatus();
    if (!next->value) continue;
    absl::Status sent = co_await out.Send(context, std::move(*next->value));
    if (!sent.ok() || PLANTED(only_one_passed_on)) co_return sent;
  }
}

template <class In, class Out, class Function, class... Args>
Async<absl::Status> WorkInOrder(Context context, std::shared_ptr<Reorder<Out>> order,
                                Receiver<In> in, Sender<Out> out, Function function, Args... args) {
  for (;;) {
    absl::StatusOr<Permit> place = co_await order->places.Acquire(context);
    if (!place.ok()) co_return place.status();
    absl::StatusOr<Permit> turn = co_await order->turn.Acquire(context);
    if (!turn.ok()) co_return turn.status();
    absl::StatusOr<In> element = co_await in.Receive(context);
    if (IsEnd(element.status(), context)) co_return absl::OkStatus();
    if (!element.ok()) co_return element.status();
    const int64_t number = order->TakeNumber();
    turn->Release();
    auto result = co_await std::invoke(function, context, std::move(*element), args...);
    if (!result.ok()) co_return result.status();
    std::optional<Out> value = std::move(*result);
    order->Put(number, typename Reorder<Out>::Done(std::move(value), std::move(*place)));
    absl::Status passed = co_await PassOn(context, order, out);
    if (!passed.ok()) co_return passed;
  }
}

template <class In, class Out, class Function, class... Args>
Async<absl::Status> WorkAsReady(Context context, Receiver<In> in, Sender<Out> out,
                                Function function, Args... args) {
  for (;;) {
    absl::StatusOr<In> element = co_await in.Receive(context);
    if (IsEnd(element.status(), context)) co_return absl::OkStatus();
    if (!element.ok()) co_return element.status();
    auto result = co_await std::invoke(function, context, std::move(*element), args...);
    if (!result.ok() && PLANTED(failed_element_skipped)) continue;
    if (!result.ok()) co_return result.status();
    std::optional<Out> value = std::move(*result);
    if (!value) continue;
    absl::Status sent = co_await out.Send(context, std::move(*value));
    if (!sent.ok()) co_return sent;
  }
}

// Starts the workers as tasks of `group`, which has no limit. They end when `in` is drained, and
// `out` is closed with the last of them.
template <class In, class Out, class Function, class... Args>
absl::Status StartStage(Group& group, const TaskName& name, StageOptions options, Receiver<In> in,
                        Sender<Out> out, Function function, Args... args) {
  NURSERY_RETURN_IF_ERROR(ValidateStage(options, name.text));
  const bool reorders = options.ordered && options.workers > 1;
  const auto order = reorders ? std::make_shared<Reorder<Out>>(options) : nullptr;
  for (int64_t i = 0; i < options.workers; ++i) {
    TaskName worker = WorkerName(name, options, i);
    NURSERY_RETURN_IF_ERROR(
        reorders ? group.TrySpawn(std::move(worker), WorkInOrder<In, Out, Function, Args...>, order,
                                  in, out, function, args...)
                 : group.TrySpawn(std::move(worker), WorkAsReady<In, Out, Function, Args...>, in,
                                  out, function, args...));
  }
  return absl::OkStatus();
}

template <class T>
Async<absl::Status> SendAll(Context context, Sender<T> out, std::vector<T> values) {
  for (T& value : values) {
    absl::Status sent = co_await out.Send(context, std::move(value));
    if (!sent.ok()) co_return sent;
  }
  co_return absl::OkStatus();
}

template <class T>
Async<absl::Status> ReceiveAll(Context context, Receiver<T> in, std::vector<T>* values) {
  for (;;) {
    absl::StatusOr<T> value = co_await in.Receive(context);
    if (IsEnd(value.status(), context)) co_return absl::OkStatus();
    if (!value.ok()) co_return value.status();
    values->push_back(std::move(*value));
  }
}

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_STAGE_H_
