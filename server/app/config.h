// The server's configuration: its file, the command line, and the defaults.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_APP_CONFIG_H_
#define NURSERY_SERVER_APP_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/clock.h"
#include "nursery/v1/config.pb.h"

namespace nursery::app {

// What the command line says.
struct DaemonOptions {
  DaemonOptions() = default;

  std::vector<std::string> listen;      // empty: the default socket
  std::string data_dir;                 // empty: DefaultDataDir()
  std::string config_file;              // empty: defaults
  std::string http = "127.0.0.1:7071";  // HOST:PORT of metrics and health; "none": there are none
  std::string address_file;             // empty: none is written
  Duration drain_timeout = std::chrono::seconds(30);
};

// INVALID_ARGUMENT: what is wrong, a line for each mistake, with FILE:LINE:COLUMN; also with the
// files that `auth` names. What only this process cannot do, since it is not the server's account,
// is added to `not_here`, if that is given, and no mistake.
absl::StatusOr<v1::ServerConfig> ReadConfig(const std::string& file,
                                            std::string* not_here = nullptr);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_CONFIG_H_
