#include "server/rpc/queue.h"

#include "server/rpc/operation.h"
#include "server/rpc/tsan.h"

namespace nursery::rpc {

Queue::Queue(std::unique_ptr<grpc::ServerCompletionQueue> queue) : queue_(std::move(queue)) {}

Queue::~Queue() {
  queue_->Shutdown();
  if (thread_.joinable()) {
    thread_.join();
    return;
  }
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<Tag*>(tag)->OnDone(ok);
}

void Queue::Start(ThreadExecutor& executor) {
  thread_ = std::thread([this, &executor] { Serve(executor); });
}

void Queue::Serve(ThreadExecutor& executor) {
  GuestWorker guest(executor);
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    TagReceived(tag);
    static_cast<Tag*>(tag)->OnDone(ok);
    guest.RunReady();
  }
}

}  // namespace nursery::rpc
