#include "server/rpc/queue.h"

#include "server/rpc/operation.h"
#include "server/rpc/tsan.h"

namespace nursery::rpc {

Queue::Queue(std::unique_ptr<grpc::ServerCompletionQueue> queue) : queue_(std::move(queue)) {}

Queue::~Queue() {
  queue_->Shutdown();
  if (!thread_.joinable()) Serve();
  if (thread_.joinable()) thread_.join();
}

void Queue::Start() {
  thread_ = std::thread([this] { Serve(); });
}

void Queue::Serve() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    TagReceived(tag);
    static_cast<Tag*>(tag)->OnDone(ok);
  }
}

}  // namespace nursery::rpc
