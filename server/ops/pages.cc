#include "server/ops/pages.h"

#include "nursery/core/status.h"

namespace nursery::ops {
namespace {

constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

HttpResponse Text(int code, std::string text) {
  HttpResponse response;
  response.code = code;
  response.body = std::move(text) + "\n";
  return response;
}

// "[::1]:7071" without its port.
std::string WithoutPort(const std::string& host) {
  const size_t colon = host.rfind(':');
  const size_t bracket = host.rfind(']');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  return has_port ? host.substr(0, colon) : host;
}

}  // namespace

bool Pages::IsOurs(const std::string& host) const {
  const std::string name = WithoutPort(host);
  return name == "localhost" || name == "127.0.0.1" || name == "[::1]" || name == options_.host;
}

HttpResponse Pages::AnswerTasks(const HttpRequest& request) const {
  absl::StatusOr<rpc::Identity> identity = options_.tokens->Identify(request.authorization);
  if (!identity.ok()) {
    HttpResponse refused = Text(401, std::string(Message(identity.status())));
    refused.headers = "WWW-Authenticate: Bearer\r\n";
    return refused;
  }
  if ((identity->scopes & rpc::kRead) == 0) {
    return Text(403, "'" + identity->name + "' may not read");
  }
  if (!request.query.empty() && request.query != "debug=2") {
    return Text(400, "?" + request.query + " is not in this version; debug=2 is what there is");
  }
  return Text(200, options_.tasks());
}

HttpResponse Pages::Answer(const HttpRequest& request) const {
  if (!IsOurs(request.host)) return Text(403, "this server has no such name: " + request.host);
  if (request.method != "GET" && request.method != "HEAD") {
    HttpResponse refused = Text(405, "only GET and HEAD");
    refused.headers = "Allow: GET, HEAD\r\n";
    return refused;
  }
  if (request.path == "/metrics") {
    HttpResponse response;
    response.type = kMetricsType;
    response.body = options_.metrics();
    return response;
  }
  if (request.path == "/healthz") return Text(200, "ok");
  if (request.path == "/readyz") {
    const std::string why = options_.not_ready();
    return why.empty() ? Text(200, "ok") : Text(503, why);
  }
  if (request.path == "/debug/tasks") return AnswerTasks(request);
  return Text(404, "no such page; there are /metrics, /healthz, /readyz and /debug/tasks");
}

}  // namespace nursery::ops
