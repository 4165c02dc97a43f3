#include "server/rpc/queue.h"

#include "server/rpc/operation.h"
#include "server/rpc/tsan.h"

namespace nursery::rpc {
namespace {

// gRPC reads a connection as long as bytes come, in the thread that has begun with it. Another one
// takes the calls meanwhile, so that those of a flood do not pile up in gRPC, where no limit of
// ours holds.
constexpr int kThreads = 2;

}  // namespace

Queue::Queue(std::unique_ptr<grpc::ServerCompletionQueue> queue) : queue_(std::move(queue)) {}

Queue::~Queue() {
  queue_->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  if (!threads_.empty()) return;
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<Tag*>(tag)->OnDone(ok);
}

void Queue::Start(ThreadExecutor& executor) {
  for (int i = 0; i < kThreads; ++i) {
    threads_.emplace_back([this, &executor] { Serve(executor); });
  }
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
