// Call: one call of a client, from its arrival to its last word. Its methods are operations of
// gRPC that a task awaits, one at a time per direction.
//
// Order: Accept; then Reads and Writes; then exactly one WriteAndFinish or Finish, also when the
// call is lost; then Gone, after which the call may be destroyed. A call that was not accepted may
// be destroyed at once.
//
// Thread safety: one task; SetScope and what cancels may be on different threads.
//
//   auto call = std::make_unique<Call>(service, queue);
//   const bool accepted = co_await call->Accept();
//   const bool read = co_await call->Read();
//   call->SetStatus(grpc::Status::OK);
//   co_await call->Finish();
//   co_await call->Gone();
#ifndef NURSERY_SERVER_RPC_CALL_H_
#define NURSERY_SERVER_RPC_CALL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>

#include "nursery/core/clock.h"
#include "nursery/core/context.h"
#include "nursery/core/mutex.h"
#include "server/rpc/operation.h"
#include "server/rpc/queue.h"

namespace nursery::rpc {

class Call {
 public:
  using Operation = OperationAwaiter<Call>;

  Call(grpc::AsyncGenericService& service, Queue& queue);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Waits for a client. False: the server is shutting down.
  Operation Accept() { return Operation(*this, &Call::StartAccept); }
  // The next message, into message(). False: there is none, or the call is lost.
  Operation Read() { return Operation(*this, &Call::StartRead); }
  // message() to the client. False: the call is lost.
  Operation Write() { return Operation(*this, &Call::StartWrite); }
  Operation WriteAndFinish() { return Operation(*this, &Call::StartWriteAndFinish); }
  Operation Finish() { return Operation(*this, &Call::StartFinish); }
  // Waits until gRPC has no more to say about the call.
  Operation Gone() { return Operation(*this, &Call::AwaitGone); }

  // "/nursery.v1.JobService/GetJob".
  const std::string& method() const { return context_.method(); }
  std::string peer() const { return context_.peer(); }
  // The value of a metadata key; empty: there is none.
  std::string Metadata(const std::string& key) const;
  // From `now` on the executor's clock; kNever: the client set none. Clamped to ten years.
  Time Deadline(Time now) const;

  // The scope that a lost call cancels; reset it before it dies. From `out_of_time` on the client
  // is taken to have gone because its deadline passed.
  void SetScope(const CancelScope* scope, Time out_of_time = kNever) NURSERY_EXCLUDES(mutex_);

  grpc::ByteBuffer& message() { return message_; }
  void SetStatus(grpc::Status status) { status_ = std::move(status); }
  const grpc::Status& status() const { return status_; }
  // Sent before the first message.
  void AddMetadata(const std::string& key, const std::string& value) {
    context_.AddInitialMetadata(key, value);
  }

 private:
  // Told once, when the call has ended on gRPC's side, for whatever reason.
  struct Ended final : Tag {
    explicit Ended(Call& the_call) : call(the_call) {}
    void OnDone(bool) override { call.OnEnded(); }
    Call& call;
  };

  void StartAccept(Tag* tag);
  void StartRead(Tag* tag);
  void StartWrite(Tag* tag);
  void StartWriteAndFinish(Tag* tag);
  void StartFinish(Tag* tag);
  void AwaitGone(Tag* tag) NURSERY_EXCLUDES(mutex_);
  void OnEnded() NURSERY_EXCLUDES(mutex_);
  void CancelLost() NURSERY_REQUIRES(mutex_);

  grpc::AsyncGenericService& service_;
  Queue& queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  Ended ended_tag_{*this};
  grpc::ByteBuffer message_;
  grpc::Status status_;

  Mutex mutex_;
  bool ended_ NURSERY_GUARDED_BY(mutex_) = false;
  bool lost_ NURSERY_GUARDED_BY(mutex_) = false;
  const CancelScope* scope_ NURSERY_GUARDED_BY(mutex_) = nullptr;
  Time out_of_time_ NURSERY_GUARDED_BY(mutex_) = kNever;
  Tag* gone_ NURSERY_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_CALL_H_
