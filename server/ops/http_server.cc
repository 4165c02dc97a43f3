#include "server/ops/http_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "nursery/core/status.h"

namespace nursery::ops {
namespace {

// A scrape, a probe, and a person: more at once wait.
constexpr const char* kThreads = "3";
// A client that sends its request slower keeps a thread from others.
constexpr const char* kRequestTimeoutMillis = "5000";

bool IsLoopback(const std::string& host) {
  in_addr v4 = {};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "[::1]";
}

bool IsPort(const std::string& text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size();
}

std::string Header(const mg_connection* connection, const char* name) {
  const char* value = mg_get_header(connection, name);
  return value == nullptr ? "" : value;
}

// Wakes civetweb, which else looks only every two seconds whether it shall stop: a listening socket
// that was shut down is readable for good. It tells nobody its descriptor.
void ShutDownListener(int port) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    int listens = 0;
    socklen_t size = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_storage storage = {};
    size = sizeof storage;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) continue;
    if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) continue;
    // The port is at the same place in both.
    const auto& address = reinterpret_cast<const sockaddr_in&>(storage);
    if (ntohs(address.sin_port) == port) shutdown(fd, SHUT_RDWR);
  }
}

std::string Reason(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

void Send(mg_connection* connection, const HttpResponse& response, bool with_body) {
  std::string text = "HTTP/1.1 " + std::to_string(response.code) + " " + Reason(response.code) +
                     "\r\nContent-Type: " + response.type +
                     "\r\nContent-Length: " + std::to_string(response.body.size()) +
                     "\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n" +
                     "Connection: close\r\n" + response.headers + "\r\n";
  if (with_body) text += response.body;
  // Less is written when the client has gone, and then there is nobody to tell.
  mg_write(connection, text.data(), text.size());
}

}  // namespace

absl::StatusOr<LoopbackAddress> ParseLoopback(const std::string& address) {
  const size_t colon = address.rfind(':');
  LoopbackAddress parsed;
  if (colon != std::string::npos) {
    parsed.host = address.substr(0, colon);
    parsed.port = address.substr(colon + 1);
  }
  if (parsed.host.empty() || !IsPort(parsed.port)) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "--http " + address + ": must be HOST:PORT, or none");
  }
  if (parsed.host == "localhost") parsed.host = "127.0.0.1";
  if (IsLoopback(parsed.host)) return parsed;
  return Error(absl::StatusCode::kFailedPrecondition,
               "--http " + address +
                   ": not in this version: over HTTP the server is reached on 127.0.0.1, [::1] or "
                   "localhost only");
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              Handler handler) {
  absl::StatusOr<LoopbackAddress> parsed = ParseLoopback(address);
  if (!parsed.ok()) return parsed.status();
  mg_init_library(0);
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));
  mg_callbacks callbacks = {};
  callbacks.begin_request = OnRequest;
  callbacks.log_message = OnMessage;
  const std::string port = parsed->host + ":" + parsed->port;
  const char* options[] = {
      "listening_ports",     port.c_str(),        "num_threads", kThreads, "request_timeout_ms",
      kRequestTimeoutMillis, "enable_keep_alive", "no",          nullptr};
  server->context_ = mg_start(&callbacks, server.get(), options);
  if (server->context_ == nullptr) {
    return Error(absl::StatusCode::kUnavailable, "cannot serve HTTP on " + address + ": " +
                                                     server->problem_ +
                                                     "; name another port with --http, or none");
  }
  mg_server_port taken = {};
  mg_get_server_ports(server->context_, 1, &taken);
  server->port_ = taken.port;
  server->address_ = parsed->host + ":" + std::to_string(taken.port);
  return server;
}

HttpServer::~HttpServer() {
  if (context_ != nullptr) {
    ShutDownListener(port_);
    mg_stop(context_);
  }
  mg_exit_library();
}

int HttpServer::OnMessage(const mg_connection* connection, const char* message) {
  // Without a connection's context there is nobody to keep it; later ones are about clients.
  const mg_context* context = mg_get_context(connection);
  auto* server = context == nullptr ? nullptr : static_cast<HttpServer*>(mg_get_user_data(context));
  if (server != nullptr && server->context_ == nullptr && server->problem_.empty()) {
    server->problem_ = message;
  }
  return 1;  // it has been dealt with: civetweb need not print it
}

int HttpServer::OnRequest(mg_connection* connection) {
  const mg_request_info* info = mg_get_request_info(connection);
  const auto* server = static_cast<const HttpServer*>(info->user_data);
  HttpRequest request;
  request.method = info->request_method;
  request.path = info->local_uri;
  if (info->query_string != nullptr) request.query = info->query_string;
  request.host = Header(connection, "Host");
  request.authorization = Header(connection, "Authorization");
  const HttpResponse response = server->handler_(request);
  Send(connection, response, request.method != "HEAD");
  return response.code;
}

}  // namespace nursery::ops
