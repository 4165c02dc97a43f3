// Exec: runs one process of a job through the warden, and everything that it starts with it.
//
// When Run returns, nothing that the attempt started is alive: after a normal exit what was left
// behind has been killed; after a cancellation SIGTERM, the grace and SIGKILL have passed and the
// end of everything is verified. What cannot die keeps Run from returning, and is told to the
// observer.
//
// Thread safety: any thread. Lifetime: outlives the jobs; the host is served as long as there are
// any.
#ifndef NURSERY_SERVER_ACTIONS_EXEC_H_
#define NURSERY_SERVER_ACTIONS_EXEC_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/actions/actions.h"
#include "server/actions/scratch.h"
#include "server/engine/limits.h"
#include "server/warden/process_host.h"

namespace nursery::actions {

// Who programs may run as, other than the server itself.
struct Account {
  warden::Account ids;
  std::string home;
};

struct ExecOptions {
  ExecOptions() = default;

  // Those that jobs may name, by name.
  std::map<std::string, Account> accounts;
  // What every process gets, as "NAME=value"; its job's variables win.
  std::vector<std::string> environment;
  // Where scratch directories are made: an absolute path.
  std::string data_dir = "/tmp";
  // The most that is kept of a stream that is read whole, in bytes; a job may ask for less.
  int64_t max_output = engine::kOutputSpool;
  // Processes may gain privileges, by setuid programs.
  bool allow_new_privileges = false;
  // Processes whose job says nothing of stdin read this process's own.
  bool pass_stdin = false;
  // Processes write to this process's stdout and stderr; nothing is captured.
  bool pass_output = false;
};

class Exec final : public ExecRunner {
 public:
  Exec(warden::ProcessHost& host, ExecOptions options);

  Async<engine::ActionResult> Run(Context context, const spec::Exec& exec,
                                  const engine::AttemptRequest& request) override;

 private:
  warden::ProcessHost& host_;
  const ExecOptions options_;
  Scratch scratch_{options_.data_dir};
};

}  // namespace nursery::actions

#endif  // NURSERY_SERVER_ACTIONS_EXEC_H_
