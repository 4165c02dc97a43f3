// HttpServer: a small HTTP port on loopback, with few threads of its own, so that it answers also
// when the scheduler's are stuck.
//
// Thread safety: one thread makes and destroys it; the handler is called on any of its threads.
// Lifetime: the destructor returns when no request is under way.
//
//   absl::StatusOr<std::unique_ptr<HttpServer>> server =
//       HttpServer::Start("127.0.0.1:0", [&](const HttpRequest& r) { return pages.Answer(r); });
#ifndef NURSERY_SERVER_OPS_HTTP_SERVER_H_
#define NURSERY_SERVER_OPS_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_context;
struct mg_connection;

namespace nursery::ops {

struct HttpRequest {
  HttpRequest() = default;

  std::string method;
  std::string path;
  std::string query;  // without the question mark
  std::string host;   // the header; empty: there is none
  std::string authorization;
};

struct HttpResponse {
  HttpResponse() = default;

  int code = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string headers;  // more of them, each with its line end
  std::string body;
};

class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest& request)>;

  // `address` is HOST:PORT, with port 0 for a free one. FAILED_PRECONDITION: it is not loopback;
  // UNAVAILABLE: it cannot be listened on, as when somebody else does.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                           Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // As clients name it, with the port that was taken.
  const std::string& address() const { return address_; }

 private:
  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {}
  static int OnRequest(mg_connection* connection);
  static int OnMessage(const mg_connection* connection, const char* message);

  const Handler handler_;
  std::string address_;
  int port_ = 0;
  std::string problem_;  // the first thing that civetweb said while it started
  mg_context* context_ = nullptr;
};

// "[::1]:80" as {"[::1]", "80"}; localhost is 127.0.0.1. INVALID_ARGUMENT or FAILED_PRECONDITION as
// above.
struct LoopbackAddress {
  std::string host;
  std::string port;
};
absl::StatusOr<LoopbackAddress> ParseLoopback(const std::string& address);

}  // namespace nursery::ops

#endif  // NURSERY_SERVER_OPS_HTTP_SERVER_H_
