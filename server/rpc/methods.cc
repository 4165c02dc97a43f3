#include "server/rpc/methods.h"

#include <algorithm>
#include <set>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/rpc/errors.h"

namespace nursery::rpc {
namespace {

Async<absl::Status> RunUnknown(Context, Session*) { co_return NotInThisVersion("this method"); }

}  // namespace

absl::Status Session::NoMessage() {
  return Error(absl::StatusCode::kOutOfRange, "the call ended before its request had come");
}

absl::Status Session::Unparsable(const std::string& type) {
  return WithReason(Error(absl::StatusCode::kInvalidArgument, "the message is no " + type),
                    v1::ERROR_REASON_INVALID_REQUEST);
}

void MethodStats::OnHandled(int code, Duration took, const Session& session) {
  constexpr auto kRelaxed = std::memory_order_relaxed;  // counters: nobody follows from them
  handled[static_cast<size_t>(std::clamp(code, 0, 16))].fetch_add(1, kRelaxed);
  const double seconds = std::chrono::duration<double>(took).count();
  const auto bucket = std::lower_bound(kHandlingBounds.begin(), kHandlingBounds.end(), seconds);
  by_time[static_cast<size_t>(bucket - kHandlingBounds.begin())].fetch_add(1, kRelaxed);
  nanoseconds.fetch_add(took.count(), kRelaxed);
  received.fetch_add(session.messages_received(), kRelaxed);
  sent.fetch_add(session.messages_sent(), kRelaxed);
}

Methods::Methods() {
  unknown_.service = "unknown";
  unknown_.name = "unknown";
  unknown_.path = "unknown";
  unknown_.type = "unary";
  unknown_.run = RunUnknown;
}

Method& Methods::Add(std::string service, std::string name, std::string type, uint8_t scope) {
  const std::string path = "/" + service + "/" + name;
  Method& method = methods_[path];
  NURSERY_CHECK(method.name.empty()) << path << " is there already";
  method.path = path;
  method.service = std::move(service);
  method.name = std::move(name);
  method.type = std::move(type);
  method.scope = scope;
  return method;
}

Method& Methods::AddBidi(
    std::string service, std::string name, uint8_t scope,
    std::function<Async<absl::Status>(Context context, Session* session)> handler) {
  Method& method = Add(std::move(service), std::move(name), "bidi_stream", scope);
  method.run = std::move(handler);
  return method;
}

const Method& Methods::Find(const std::string& path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? unknown_ : found->second;
}

std::vector<const Method*> Methods::All() const {
  std::vector<const Method*> all = {&unknown_};
  for (const auto& [path, method] : methods_) all.push_back(&method);
  return all;
}

std::vector<std::string> Methods::Services() const {
  std::set<std::string> names;
  for (const auto& [path, method] : methods_) names.insert(method.service);
  return {names.begin(), names.end()};
}

}  // namespace nursery::rpc
