#include "server/app/job_settings.h"

#include <algorithm>
#include <utility>

#include "server/app/settings.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"

namespace nursery::app {

std::vector<spec::Semaphore> SemaphoresOf(const v1::ServerConfig& config) {
  std::vector<spec::Semaphore> semaphores;
  for (const v1::SemaphoreConfig& each : config.semaphores()) {
    spec::Semaphore& semaphore = semaphores.emplace_back();
    semaphore.name = each.name();
    semaphore.size = each.size() == 0 ? each.units_size() : each.size();
    semaphore.units.assign(each.units().begin(), each.units().end());
    semaphore.of_server = true;
  }
  return semaphores;
}

Duration DefaultJobTimeout(const v1::ServerConfig& config) {
  if (config.has_default_job_timeout()) return engine::FromProto(config.default_job_timeout());
  if (!config.has_max_job_timeout()) return engine::kDefaultJobTimeout;
  return std::min<Duration>(engine::kDefaultJobTimeout,
                            engine::FromProto(config.max_job_timeout()));
}

spec::CompileOptions CompileOptionsOf(const v1::ServerConfig& config,
                                      std::vector<std::string> pools,
                                      std::vector<std::string> functions) {
  spec::CompileOptions compile;
  compile.pools = std::move(pools);
  compile.semaphores = SemaphoresOf(config);
  compile.users.emplace(config.exec().users().begin(), config.exec().users().end());
  compile.functions = std::move(functions);
  SetJobLimits(config, &compile);
  return compile;
}

rpc::AdmissionRules RulesOf(const v1::ServerConfig& config) {
  rpc::AdmissionRules rules;
  if (config.has_min_admission_slack()) {
    rules.least_slack = engine::FromProto(config.min_admission_slack());
  }
  if (config.limits().watchers() != 0) rules.watchers = config.limits().watchers();
  return rules;
}

}  // namespace nursery::app
