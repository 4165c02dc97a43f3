// Queue: a completion queue of gRPC with the two threads that empty it and run the tasks that they
// wake: a call that need not wait changes its thread not once.
//
// Thread safety: any thread. Lifetime: outlives the calls on it; ShutDown after the server's.
#ifndef NURSERY_SERVER_RPC_QUEUE_H_
#define NURSERY_SERVER_RPC_QUEUE_H_

#include <grpcpp/completion_queue.h>

#include <memory>
#include <thread>
#include <vector>

#include "nursery/core/executor.h"

namespace nursery::rpc {

class Queue {
 public:
  explicit Queue(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  grpc::ServerCompletionQueue* get() { return queue_.get(); }
  // From now on the queue's threads make the calls of tags. `executor` outlives the queue.
  void Start(ThreadExecutor& executor);

 private:
  void Serve(ThreadExecutor& executor);

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_QUEUE_H_
