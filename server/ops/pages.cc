#include "server/ops/pages.h"

#include <algorithm>
#include <string_view>

#include "nursery/core/status.h"

namespace nursery::ops {
namespace {

constexpr const char* kJsonType = "application/json";
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

// What is asked of /debug/tasks.
struct TasksQuery {
  DumpFormat format = DumpFormat::kText;
  bool only_stuck = false;
};

absl::StatusOr<TasksQuery> ParseTasksQuery(std::string_view query) {
  TasksQuery parsed;
  while (!query.empty()) {
    const std::string_view word = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(word.size() + 1, query.size()));
    if (word == "debug=1") {
      parsed.format = DumpFormat::kAggregate;
    } else if (word == "debug=2") {
      parsed.format = DumpFormat::kText;
    } else if (word == "format=json") {
      parsed.format = DumpFormat::kJson;
    } else if (word == "stuck=1") {
      parsed.only_stuck = true;
    } else {
      return Error(absl::StatusCode::kInvalidArgument,
                   "?" + std::string(word) +
                       " is not in this version; there are debug=1, debug=2, format=json and "
                       "stuck=1");
    }
  }
  return parsed;
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
  const absl::StatusOr<TasksQuery> query = ParseTasksQuery(request.query);
  if (!query.ok()) return Text(400, std::string(Message(query.status())));
  HttpResponse response;
  if (query->format == DumpFormat::kJson) response.type = kJsonType;
  response.body = options_.tasks(query->format, query->only_stuck);
  return response;
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
