// ParallelMap: calls a function on every element with a bounded number of workers (fan-out), and
// gathers what it gives (fan-in), in the order of the elements or as it is ready.
//
// The elements are a vector, or stream in through a Receiver; the results are a vector, or stream
// out through a Sender. A stream is never held as a whole: at most workers + buffer elements are
// under way. The first error cancels the rest and is returned; results that were sent stay sent.
// A function that gives an optional without a value drops its element.
//
// Thread safety: the function runs in several tasks at once. Suspends: until all have ended.
// Resumes on: the executor. Cancellation: cancels the calls and returns the cause's status.
// Order: elements are taken in their order.
//
//   Async<absl::StatusOr<Page>> Fetch(Context ctx, std::string url, int retries);
//   absl::StatusOr<std::vector<Page>> pages =
//       co_await ParallelMap(ctx, "fetch", StageOptions(8), urls, Fetch, 3);
#ifndef NURSERY_CORE_PARALLEL_MAP_H_
#define NURSERY_CORE_PARALLEL_MAP_H_

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/channel.h"
#include "nursery/core/group.h"
#include "nursery/core/internal/stage.h"

namespace nursery {

namespace internal {

template <class T>
absl::StatusOr<Receiver<T>> StartSource(Group& group, const TaskName& name,
                                        std::vector<T> elements) {
  auto [sender, receiver] = MakeChannel<T>(0);
  NURSERY_RETURN_IF_ERROR(
      group.TrySpawn(Extended(name, "source"), SendAll<T>, std::move(sender), std::move(elements)));
  return std::move(receiver);
}

template <class T>
absl::StatusOr<Receiver<T>> StartSource(Group&, const TaskName&, Receiver<T> elements) {
  return elements;
}

template <class In, class Source, class Out, class Function, class... Args>
Async<absl::Status> MapInto(Group& group, TaskName name, StageOptions options, Source source,
                            Sender<Out> out, Function function, Args... args) {
  absl::StatusOr<Receiver<In>> in = StartSource(group, name, std::move(source));
  if (!in.ok()) co_return in.status();
  co_return StartStage(group, name, options, *std::move(in), std::move(out), std::move(function),
                       std::move(args)...);
}

template <class In, class Source, class Out, class Function, class... Args>
Async<absl::Status> MapAndCollect(Group& group, TaskName name, StageOptions options, Source source,
                                  std::vector<Out>* results, Function function, Args... args) {
  absl::Status started = ValidateStage(options, name.text);
  if (!started.ok()) co_return started;
  auto [sender, receiver] = MakeChannel<Out>(static_cast<size_t>(options.buffer));
  started = co_await MapInto<In>(group, std::move(name), options, std::move(source),
                                 std::move(sender), std::move(function), std::move(args)...);
  if (!started.ok()) co_return started;
  co_return co_await ReceiveAll(group.context(), std::move(receiver), results);
}

template <class In, class Source, class Function, class... Args>
Async<absl::StatusOr<std::vector<StageOutput<Function, In, Args...>>>> MapToVector(
    Context context, TaskName name, StageOptions options, Source source, Function function,
    Args... args) {
  using Out = StageOutput<Function, In, Args...>;
  std::vector<Out> results;
  GroupResult result = co_await WithGroup(std::move(context), GroupOptions(),
                                          MapAndCollect<In, Source, Out, Function, Args...>,
                                          std::move(name), options, std::move(source), &results,
                                          std::move(function), std::move(args)...);
  if (!result.status.ok()) co_return result.status;
  co_return std::move(results);
}

template <class In, class Source, class Out, class Function, class... Args>
Async<absl::Status> MapToSender(Context context, TaskName name, StageOptions options, Source source,
                                Sender<Out> results, Function function, Args... args) {
  GroupResult result = co_await WithGroup(
      std::move(context), GroupOptions(), MapInto<In, Source, Out, Function, Args...>,
      std::move(name), options, std::move(source), std::move(results), std::move(function),
      std::move(args)...);
  co_return result.status;
}

}  // namespace internal

// `function(context, element, args...)` gives an Async<absl::StatusOr<Out>>, or of an optional, and
// is called with copies of `args`. `name` is that of the workers' tasks. INVALID_ARGUMENT: the
// options make no sense.
template <class In, class Function, class... Args>
auto ParallelMap(Context context, TaskName name, StageOptions options, std::vector<In> elements,
                 Function function, Args... args) {
  return internal::MapToVector<In>(std::move(context), std::move(name), options,
                                   std::move(elements), std::move(function), std::move(args)...);
}
template <class In, class Function, class... Args>
auto ParallelMap(Context context, TaskName name, StageOptions options, Receiver<In> elements,
                 Function function, Args... args) {
  return internal::MapToVector<In>(std::move(context), std::move(name), options,
                                   std::move(elements), std::move(function), std::move(args)...);
}

// The same, with the results sent; gives an Async<absl::Status>. The last worker closes `results`,
// also after an error: whoever receives them learns of it from the scope that both run in.
template <class In, class Out, class Function, class... Args>
Async<absl::Status> ParallelMapInto(Context context, TaskName name, StageOptions options,
                                    std::vector<In> elements, Sender<Out> results,
                                    Function function, Args... args) {
  return internal::MapToSender<In>(std::move(context), std::move(name), options,
                                   std::move(elements), std::move(results), std::move(function),
                                   std::move(args)...);
}
template <class In, class Out, class Function, class... Args>
Async<absl::Status> ParallelMapInto(Context context, TaskName name, StageOptions options,
                                    Receiver<In> elements, Sender<Out> results, Function function,
                                    Args... args) {
  return internal::MapToSender<In>(std::move(context), std::move(name), options,
                                   std::move(elements), std::move(results), std::move(function),
                                   std::move(args)...);
}

}  // namespace nursery

#endif  // NURSERY_CORE_PARALLEL_MAP_H_
