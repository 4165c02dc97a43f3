// The templates of pipeline.h.
#ifndef NURSERY_CORE_INTERNAL_PIPELINE_INL_H_
#define NURSERY_CORE_INTERNAL_PIPELINE_INL_H_

#include <algorithm>

#include "nursery/core/pipeline.h"

namespace nursery {
namespace internal {

absl::Status UsedPipelineStatus();  // FAILED_PRECONDITION

// Starts a plan; what it gives comes out of the Receiver.
template <class T>
absl::StatusOr<Receiver<T>> StartPipeline(Group& group, int64_t buffer,
                                          typename Pipeline<T>::Start start) {
  if (start == nullptr) return UsedPipelineStatus();
  auto [sender, receiver] = MakeChannel<T>(static_cast<size_t>(std::max<int64_t>(buffer, 0)));
  NURSERY_RETURN_IF_ERROR(std::move(start)(group, std::move(sender)));
  return std::move(receiver);
}

template <class T, class Function, class... Args>
Async<absl::Status> EachOf(Group& group, int64_t buffer, typename Pipeline<T>::Start start,
                           Function function, Args... args) {
  absl::StatusOr<Receiver<T>> elements = StartPipeline<T>(group, buffer, std::move(start));
  if (!elements.ok()) co_return elements.status();
  for (;;) {
    absl::StatusOr<T> element = co_await elements->Receive(group.context());
    if (IsEnd(element.status(), group.context())) co_return absl::OkStatus();
    if (!element.ok()) co_return element.status();
    absl::Status status =
        co_await std::invoke(function, group.context(), std::move(*element), args...);
    if (!status.ok()) co_return status;
  }
}

template <class T>
Async<absl::Status> CollectFrom(Group& group, int64_t buffer, typename Pipeline<T>::Start start,
                                std::vector<T>* results) {
  absl::StatusOr<Receiver<T>> elements = StartPipeline<T>(group, buffer, std::move(start));
  if (!elements.ok()) co_return elements.status();
  co_return co_await ReceiveAll(group.context(), *std::move(elements), results);
}

template <class T>
Async<absl::Status> StartInto(Group& group, typename Pipeline<T>::Start start, Sender<T> out) {
  if (start == nullptr) co_return UsedPipelineStatus();
  co_return std::move(start)(group, std::move(out));
}

template <class T, class Function, class... Args>
Async<absl::Status> RunEach(Context context, int64_t buffer, typename Pipeline<T>::Start start,
                            Function function, Args... args) {
  GroupResult result =
      co_await WithGroup(std::move(context), GroupOptions(), EachOf<T, Function, Args...>, buffer,
                         std::move(start), std::move(function), std::move(args)...);
  co_return result.status;
}

template <class T>
Async<absl::StatusOr<std::vector<T>>> RunCollect(Context context, int64_t buffer,
                                                 typename Pipeline<T>::Start start) {
  std::vector<T> results;
  GroupResult result = co_await WithGroup(std::move(context), GroupOptions(), CollectFrom<T>,
                                          buffer, std::move(start), &results);
  if (!result.status.ok()) co_return result.status;
  co_return std::move(results);
}

template <class T>
Async<absl::Status> RunInto(Context context, typename Pipeline<T>::Start start, Sender<T> out) {
  GroupResult result = co_await WithGroup(std::move(context), GroupOptions(), StartInto<T>,
                                          std::move(start), std::move(out));
  co_return result.status;
}

}  // namespace internal

template <class T>
template <class Function, class... Args>
Pipeline<T> Pipeline<T>::From(TaskName name, Function function, Args... args) {
  auto start = [name = std::move(name), function = std::move(function),
                arguments = std::make_tuple(std::move(args)...)](Group& group,
                                                                 Sender<T> out) mutable {
    return std::apply(
        [&](Args&... each) {
          return group.TrySpawn(std::move(name), std::move(function), std::move(out),
                                std::move(each)...);
        },
        arguments);
  };
  return Pipeline(0, std::move(start));
}

template <class T>
template <class Function, class... Args>
Pipeline<internal::StageOutput<Function, T, Args...>> Pipeline<T>::Then(TaskName name,
                                                                        StageOptions options,
                                                                        Function function,
                                                                        Args... args) && {
  using Out = internal::StageOutput<Function, T, Args...>;
  auto start = [before = std::exchange(start_, nullptr), buffer = buffer_, options,
                name = std::move(name), function = std::move(function),
                arguments = std::make_tuple(std::move(args)...)](Group& group,
                                                                 Sender<Out> out) mutable {
    absl::StatusOr<Receiver<T>> in = internal::StartPipeline<T>(group, buffer, std::move(before));
    if (!in.ok()) return in.status();
    return std::apply(
        [&](Args&... each) {
          return internal::StartStage(group, name, options, *std::move(in), std::move(out),
                                      std::move(function), std::move(each)...);
        },
        arguments);
  };
  return Pipeline<Out>(options.buffer, std::move(start));
}

// None of these is a coroutine: their plan is moved into the one that they call, and may be a
// temporary.
template <class T>
template <class Function, class... Args>
Async<absl::Status> Pipeline<T>::Each(Context context, Function function, Args... args) && {
  return internal::RunEach<T>(std::move(context), buffer_, std::exchange(start_, nullptr),
                              std::move(function), std::move(args)...);
}

template <class T>
Async<absl::StatusOr<std::vector<T>>> Pipeline<T>::Collect(Context context) && {
  return internal::RunCollect<T>(std::move(context), buffer_, std::exchange(start_, nullptr));
}

template <class T>
Async<absl::Status> Pipeline<T>::Into(Context context, Sender<T> out) && {
  return internal::RunInto<T>(std::move(context), std::exchange(start_, nullptr), std::move(out));
}

}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_PIPELINE_INL_H_
