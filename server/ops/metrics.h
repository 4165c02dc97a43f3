// Metrics: what the server counts, in the text format of Prometheus. Everything is read from the
// structs that own it when somebody asks; labels come from code and configuration alone, and every
// series exists from the first scrape on.
//
// Thread safety: any thread. Lifetime: its sources outlive it.
//
//   Metrics metrics(sources);
//   std::string text = metrics.Text();
#ifndef NURSERY_SERVER_OPS_METRICS_H_
#define NURSERY_SERVER_OPS_METRICS_H_

#include <string>

#include "nursery/core/executor.h"
#include "server/engine/job_table.h"
#include "server/rpc/server.h"
#include "server/warden/process_host.h"

namespace nursery::ops {

// All are required.
struct MetricSources {
  MetricSources() = default;

  const Executor* executor = nullptr;
  engine::JobTable* table = nullptr;
  rpc::Server* server = nullptr;
  const warden::ProcessHost* host = nullptr;
  std::string version;
};

class Metrics {
 public:
  explicit Metrics(MetricSources sources) : sources_(std::move(sources)) {}

  std::string Text() const;

 private:
  const MetricSources sources_;
};

}  // namespace nursery::ops

#endif  // NURSERY_SERVER_OPS_METRICS_H_
