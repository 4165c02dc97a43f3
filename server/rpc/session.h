// Session: what a handler sees of its call: who calls, its messages in and out.
//
// Thread safety: the handler's task. Lifetime: until the handler has returned.
// Suspends: Read and Write until gRPC is done. Resumes on: the executor. Cancellation: a lost call
// ends both as failed and cancels the handler's context.
#ifndef NURSERY_SERVER_RPC_SESSION_H_
#define NURSERY_SERVER_RPC_SESSION_H_

#include <google/protobuf/message.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <string>

#include "absl/status/status.h"
#include "nursery/core/async.h"
#include "nursery/core/sleep.h"
#include "server/rpc/call.h"
#include "server/rpc/identity.h"

namespace nursery::rpc {

// To parse and to check more bytes than these takes long enough to keep others waiting.
inline constexpr size_t kLongMessage = 16 << 10;

class Session {
 public:
  Session(Call& call, Identity identity, Time deadline)
      : call_(call), identity_(std::move(identity)), deadline_(deadline) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Identity& identity() const { return identity_; }
  // kNever: the client set none.
  Time deadline() const { return deadline_; }
  std::string Metadata(const std::string& key) const { return call_.Metadata(key); }

  // The next message. OUT_OF_RANGE: there is none; INVALID_ARGUMENT: it is none of this type.
  template <class Message>
  Async<absl::Status> Read(Message* message) {
    const bool read = co_await call_.Read();
    if (!read) co_return NoMessage();
    if (call_.message().Length() > kLongMessage) co_await OnWorker();
    co_return Parse(message);
  }

  // False: the client has gone.
  template <class Message>
  Async<bool> Write(const Message& message) {
    SetMessage(message);
    const bool written = co_await call_.Write();
    co_return written;
  }

  // Sent together with an OK status, when the handler returns.
  template <class Message>
  void SetLast(const Message& message) {
    SetMessage(message);
    has_last_ = true;
  }
  bool has_last() const { return has_last_; }
  int64_t messages_sent() const { return sent_; }
  int64_t messages_received() const { return received_; }

 private:
  static absl::Status NoMessage();
  template <class Message>
  absl::Status Parse(Message* message) {
    ++received_;
    const grpc::Status parsed =
        grpc::SerializationTraits<Message>::Deserialize(&call_.message(), message);
    return parsed.ok() ? absl::OkStatus() : Unparsable(message->GetTypeName());
  }
  static absl::Status Unparsable(const std::string& type);
  template <class Message>
  void SetMessage(const Message& message) {
    ++sent_;
    call_.message().Clear();
    bool own_buffer = false;
    // Fails only for messages above 2 GiB, which our limits exclude.
    const grpc::Status ignored =
        grpc::SerializationTraits<Message>::Serialize(message, &call_.message(), &own_buffer);
    static_cast<void>(ignored);
  }

  Call& call_;
  const Identity identity_;
  const Time deadline_;
  bool has_last_ = false;
  int64_t sent_ = 0;
  int64_t received_ = 0;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_SESSION_H_
