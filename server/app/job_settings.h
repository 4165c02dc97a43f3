// What the configuration says of jobs: names that they may use, and bounds.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_APP_JOB_SETTINGS_H_
#define NURSERY_SERVER_APP_JOB_SETTINGS_H_

#include <string>
#include <vector>

#include "nursery/v1/config.pb.h"
#include "server/rpc/job_service.h"
#include "server/spec/compile.h"

namespace nursery::app {

// By rank.
std::vector<spec::Semaphore> SemaphoresOf(const v1::ServerConfig& config);

// Of a job that says none.
Duration DefaultJobTimeout(const v1::ServerConfig& config);

spec::CompileOptions CompileOptionsOf(const v1::ServerConfig& config,
                                      std::vector<std::string> pools,
                                      std::vector<std::string> functions);

rpc::AdmissionRules RulesOf(const v1::ServerConfig& config);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_JOB_SETTINGS_H_
