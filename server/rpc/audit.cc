#include "server/rpc/audit.h"

#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "server/engine/text.h"
#include "server/spec/json.h"

namespace nursery::rpc {

void Audit(WallTime now, const Identity& identity, std::string_view method, std::string_view job,
           std::string_view detail) {
  if (!identity.is_audited) return;
  const auto quoted = [](std::string_view text) { return spec::JsonQuote(engine::ToUtf8(text)); };
  const std::string time =
      absl::FormatTime(absl::RFC3339_full, absl::FromChrono(now), absl::UTCTimeZone());
  std::string line =
      "{\"time\":\"" + time +
      "\",\"level\":\"info\",\"msg\":\"audit\",\"identity\":" + quoted(identity.name) +
      ",\"method\":" + quoted(method) + ",\"job\":" + quoted(job);
  if (!detail.empty()) line += ",\"detail\":" + quoted(detail);
  line += "}\n";
  std::fputs(line.c_str(), stderr);
}

}  // namespace nursery::rpc
