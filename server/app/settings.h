// What a configuration says, as the options of the server's parts; and what of it takes effect only
// at a start.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_APP_SETTINGS_H_
#define NURSERY_SERVER_APP_SETTINGS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nursery/v1/config.pb.h"
#include "server/actions/exec.h"
#include "server/engine/job_table.h"
#include "server/rpc/server.h"
#include "server/spec/compile.h"

namespace nursery::app {

engine::TableLimits TableLimitsOf(const v1::ServerConfig& config);
int CallsPerConnectionOf(const v1::ServerConfig& config);
int64_t MaxTasksOf(const v1::ServerConfig& config);
// kNone: the best that works.
warden::Level LevelOf(const v1::ServerConfig& config);
// What a process may write to a stream that is read whole, in bytes.
int64_t MaxOutputOf(const v1::ServerConfig& config);
rpc::ServerLimits ServerLimitsOf(const v1::ServerConfig& config);
// What it says about jobs, and the default of what it does not.
void SetJobLimits(const v1::ServerConfig& config, spec::CompileOptions* options);
// Slots by name; `default` and `io` are always there.
std::map<std::string, int64_t> PoolsOf(const v1::ServerConfig& config);

// The fields in which `wanted` differs from `running` and that a running server cannot change, by
// their paths: "exec.pass_env", "pools" for other names.
std::vector<std::string> FixedChanges(const v1::ServerConfig& running,
                                      const v1::ServerConfig& wanted);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_SETTINGS_H_
