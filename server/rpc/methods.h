// Methods: the table of what the server answers, by name, with the counters of each.
//
// Thread safety: filled before the server starts, read by any thread after.
//
//   Methods methods;
//   methods.AddUnary<v1::GetJobRequest, v1::Job>("nursery.v1.JobService", "GetJob", kRead,
//   handler);
#ifndef NURSERY_SERVER_RPC_METHODS_H_
#define NURSERY_SERVER_RPC_METHODS_H_

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/sleep.h"
#include "server/rpc/session.h"

namespace nursery::rpc {

// Upper bounds of the buckets of handling time, in seconds.
inline constexpr std::array<double, 12> kHandlingBounds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 60};

// A handler that does not wait, as one that might.
template <class Response>
Async<absl::StatusOr<Response>> Ready(absl::StatusOr<Response> response) {
  co_return response;
}

struct MethodStats {
  std::atomic<int64_t> started{0};
  std::atomic<int64_t> received{0};
  std::atomic<int64_t> sent{0};
  std::array<std::atomic<int64_t>, 17> handled{};  // by status code
  std::array<std::atomic<int64_t>, kHandlingBounds.size() + 1> by_time{};
  std::atomic<int64_t> nanoseconds{0};

  void OnHandled(int code, Duration took, const Session& session);
};

struct Method {
  std::string service;  // "nursery.v1.JobService"
  std::string name;     // "GetJob"; "unknown" for all that do not exist
  std::string path;     // "/nursery.v1.JobService/GetJob", or "unknown"
  std::string type;     // "unary", "server_stream", "bidi_stream"
  uint8_t scope = kNoScope;
  // Answered also while the server stops.
  bool while_draining = true;
  // Its handler may compute for more than a millisecond without waiting: it runs on a worker.
  bool is_long = false;
  std::function<Async<absl::Status>(Context context, Session* session)> run;
  std::unique_ptr<MethodStats> stats = std::make_unique<MethodStats>();
};

class Methods {
 public:
  template <class Request, class Response>
  using Unary =
      std::function<Async<absl::StatusOr<Response>>(Context context, Session* session, Request)>;
  template <class Request>
  using Streaming = std::function<Async<absl::Status>(Context context, Session* session, Request)>;

  Methods();

  template <class Request, class Response>
  Method& AddUnary(std::string service, std::string name, uint8_t scope,
                   Unary<Request, Response> handler) {
    Method& method = Add(std::move(service), std::move(name), "unary", scope);
    auto shared = std::make_shared<const Unary<Request, Response>>(std::move(handler));
    method.run = [shared, &method](Context context, Session* session) {
      return RunUnary<Request, Response>(std::move(context), session, &method, shared);
    };
    return method;
  }

  template <class Request>
  Method& AddStreaming(std::string service, std::string name, uint8_t scope,
                       Streaming<Request> handler) {
    Method& method = Add(std::move(service), std::move(name), "server_stream", scope);
    auto shared = std::make_shared<const Streaming<Request>>(std::move(handler));
    method.run = [shared, &method](Context context, Session* session) {
      return RunStreaming<Request>(std::move(context), session, &method, shared);
    };
    return method;
  }

  // The handler reads the messages itself.
  Method& AddBidi(std::string service, std::string name, uint8_t scope,
                  std::function<Async<absl::Status>(Context context, Session* session)> handler);

  // By its path, as in "/nursery.v1.JobService/GetJob"; that of unknown methods if there is none.
  const Method& Find(const std::string& path) const;
  // Every method, the unknown ones as one.
  std::vector<const Method*> All() const;
  std::vector<std::string> Services() const;

 private:
  Method& Add(std::string service, std::string name, std::string type, uint8_t scope);

  template <class Request, class Response>
  static Async<absl::Status> RunUnary(Context context, Session* session, const Method* method,
                                      std::shared_ptr<const Unary<Request, Response>> handler) {
    Request request;
    absl::Status read = co_await session->Read(&request);
    if (!read.ok()) co_return read;
    if (method->is_long) co_await OnWorker();
    absl::StatusOr<Response> response = co_await (*handler)(context, session, std::move(request));
    if (!response.ok()) co_return response.status();
    session->SetLast(*response);
    co_return absl::OkStatus();
  }
  template <class Request>
  static Async<absl::Status> RunStreaming(Context context, Session* session, const Method* method,
                                          std::shared_ptr<const Streaming<Request>> handler) {
    Request request;
    absl::Status read = co_await session->Read(&request);
    if (!read.ok()) co_return read;
    if (method->is_long) co_await OnWorker();
    absl::Status done = co_await (*handler)(context, session, std::move(request));
    co_return done;
  }

  std::map<std::string, Method> methods_;
  Method unknown_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_METHODS_H_
