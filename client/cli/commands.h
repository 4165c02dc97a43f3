// The commands of `nursery`, one source each. Options are parsed in main.cc; a command gives the
// exit code of the process.
#ifndef NURSERY_CLIENT_CLI_COMMANDS_H_
#define NURSERY_CLIENT_CLI_COMMANDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/exit_code.h"

namespace nursery::cli {

struct OutputOptions {
  bool json = false;
};

// Which server; see Connect.
struct ServerOptions {
  std::string server;  // empty: NURSERY_SERVER, or the local socket
  std::string token_file;
  std::string tls_ca_file;
  std::string tls_certificate_file;
  std::string tls_key_file;
};

// What NURSERY_SERVER says; empty and unset are the same.
std::string ServerVariable();

struct RunOptions {
  ServerOptions server;
  bool here = true;                  // not on that server
  std::string file;                  // empty: `command` is run
  std::vector<std::string> command;  // after --
  std::string each_line;             // runs `command` once for each line of this file; - is stdin
  int64_t workers = 0;
  int64_t slots = 0;
  std::string timeout;
  std::string grace;                    // of a command
  std::vector<std::string> parameters;  // NAME=VALUE
  OutputOptions output;
};

struct ValidateOptions {
  std::string file;
  std::vector<std::string> parameters;
  OutputOptions output;
};

struct SubmitOptions {
  ServerOptions server;
  std::string file;
  std::vector<std::string> parameters;
  OutputOptions output;
};

struct ListOptions {
  ServerOptions server;
  int count = 20;
  OutputOptions output;
};

// A job, by id, the beginning of one, or name; and a node of it.
struct JobOptions {
  ServerOptions server;
  std::string job;
  std::string path;
  OutputOptions output;
};

struct LogsOptions : JobOptions {
  bool follow = false;
  int64_t lines = -1;  // before the end; -1: all
  int attempt = 0;     // 0: the last
};

struct CancelOptions : JobOptions {
  std::string reason;
  bool wait = false;
  bool kill = false;
  std::string grace;
};

struct DumpOptions {
  ServerOptions server;
  bool aggregate = false;
  bool only_stuck = false;
  std::vector<std::string> diff;  // two files; - is stdin
  OutputOptions output;
};

struct DrainOptions {
  ServerOptions server;
  std::string timeout;
};

int Run(const RunOptions& options);
int Submit(const SubmitOptions& options);
int List(const ListOptions& options);
int Show(const JobOptions& options);
int Watch(const JobOptions& options);
int Logs(const LogsOptions& options);
int Cancel(const CancelOptions& options);
int Explain(const JobOptions& options);
int Dump(const DumpOptions& options);
int Drain(const DrainOptions& options);
int Validate(const ValidateOptions& options);
int Version(const OutputOptions& options);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_COMMANDS_H_
