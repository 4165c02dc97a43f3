// The templates of worker_pool.h.
#ifndef NURSERY_CORE_INTERNAL_WORKER_POOL_INL_H_
#define NURSERY_CORE_INTERNAL_WORKER_POOL_INL_H_

#include "nursery/core/worker_pool.h"

namespace nursery {

template <class Function, class... Args>
WorkerPool::Job WorkerPool::MakeJob(std::string name, Function function, Args... args) {
  // No coroutine itself; the coroutine's parameters are moved out of it.
  auto run = [function = std::move(function),
              arguments = std::make_tuple(std::move(args)...)](Context context) mutable {
    return std::apply(
        [&](Args&... each) {
          return std::invoke(std::move(function), std::move(context), std::move(each)...);
        },
        arguments);
  };
  return Job(std::move(name), std::move(run));
}

template <class Function, class... Args>
Async<absl::Status> WorkerPool::Submit(Context context, std::string name, Function function,
                                       Args... args) {
  absl::Status refused = RefuseOwnJobs(context);
  if (!refused.ok()) co_return refused;
  const std::optional<Sender<Job>> intake = Intake();
  if (!intake && context.cancelled()) co_return context.status();
  if (!intake) co_return Accepted(internal::SendStatus(internal::Passed::kGone));
  Job job = MakeJob(std::move(name), std::move(function), std::move(args)...);
  absl::Status sent = co_await intake->Send(context, std::move(job));
  // What the caller's cancellation says is no word of the queue.
  if (!sent.ok() && context.cancelled()) co_return context.status();
  co_return Accepted(sent);
}

template <class Function, class... Args>
absl::Status WorkerPool::TrySubmit(std::string name, Function function, Args... args) {
  const std::optional<Sender<Job>> intake = Intake();
  if (!intake) return Accepted(internal::SendStatus(internal::Passed::kGone));
  return Accepted(
      intake->TrySend(MakeJob(std::move(name), std::move(function), std::move(args)...)));
}

template <class Body, class... Args>
Async<absl::Status> WorkerPool::RunBody(Group& group, WorkerPool* pool, TaskName name, Body body,
                                        Args... args) {
  absl::Status status = pool->StartWorkers(group, name);
  if (status.ok()) {
    try {
      status = co_await std::invoke(std::move(body), *pool, std::move(args)...);
    } catch (...) {
      status = internal::StatusOfException(std::current_exception());
    }
  }
  pool->OnBodyEnded(status);
  co_return absl::OkStatus();
}

template <class Body, class... Args>
Async<GroupResult> WithWorkerPool(Context context, TaskName name, WorkerPoolOptions options,
                                  Body body, Args... args) {
  GroupResult result;
  result.status = WorkerPool::Validate(options);
  if (!result.status.ok()) co_return result;
  WorkerPool pool(context, options);
  GroupResult workers =
      co_await WithGroup(pool.scope_.context(), GroupOptions(), WorkerPool::RunBody<Body, Args...>,
                         &pool, std::move(name), std::move(body), std::move(args)...);
  // Workers do not fail; what fails is making the body's frame.
  if (!workers.status.ok()) co_return workers;
  result = pool.TakeResult();
  co_return result;
}

}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_WORKER_POOL_INL_H_
