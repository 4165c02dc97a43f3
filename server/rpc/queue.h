// Queue: a completion queue of gRPC with the thread that empties it.
//
// Thread safety: any thread. Lifetime: outlives the calls on it; ShutDown after the server's.
#ifndef NURSERY_SERVER_RPC_QUEUE_H_
#define NURSERY_SERVER_RPC_QUEUE_H_

#include <grpcpp/completion_queue.h>

#include <memory>
#include <thread>

namespace nursery::rpc {

class Queue {
 public:
  explicit Queue(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  grpc::ServerCompletionQueue* get() { return queue_.get(); }
  // From now on the queue's thread makes the calls of tags.
  void Start();

 private:
  void Serve();

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_QUEUE_H_
