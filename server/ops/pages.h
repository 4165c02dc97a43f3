// Pages: what the HTTP port answers. Every path is there to be read, so only GET and HEAD are
// allowed; the Host header must name this server as it is reached from its own machine, or a page
// in somebody's browser could read it through a name of its own (DNS rebinding).
//
// Thread safety: any thread.
//
//   Pages pages(options);
//   HttpResponse response = pages.Answer(request);
#ifndef NURSERY_SERVER_OPS_PAGES_H_
#define NURSERY_SERVER_OPS_PAGES_H_

#include <functional>
#include <memory>
#include <string>

#include "nursery/core/dump.h"
#include "server/ops/http_server.h"
#include "server/rpc/auth.h"

namespace nursery::ops {

struct PagesOptions {
  PagesOptions() = default;

  std::string host;                                  // that it listens on, as in "127.0.0.1"
  std::shared_ptr<const rpc::CurrentTokens> tokens;  // for what shows more than numbers
  std::function<std::string()> metrics;
  // The live tasks; with `only_stuck` those that should have ended.
  std::function<std::string(DumpFormat format, bool only_stuck)> tasks;
  // Why no job is admitted; empty: jobs are.
  std::function<std::string()> not_ready;
};

class Pages {
 public:
  explicit Pages(PagesOptions options) : options_(std::move(options)) {}

  HttpResponse Answer(const HttpRequest& request) const;

 private:
  bool IsOurs(const std::string& host) const;
  HttpResponse AnswerTasks(const HttpRequest& request) const;

  const PagesOptions options_;
};

}  // namespace nursery::ops

#endif  // NURSERY_SERVER_OPS_PAGES_H_
