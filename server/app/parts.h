// Parts: what every server is composed of: executor, warden host, actions, store and engine.
//
// Thread safety: one thread makes and destroys it. Lifetime: made before other threads when it runs
// processes; whatever runs on the executor has ended before.
#ifndef NURSERY_SERVER_APP_PARTS_H_
#define NURSERY_SERVER_APP_PARTS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/core/executor.h"
#include "server/actions/exec.h"
#include "server/actions/functions.h"
#include "server/engine/engine.h"
#include "server/engine/limits.h"
#include "server/store/memory_store.h"
#include "server/warden/process_host.h"

namespace nursery::app {

struct PartsOptions {
  PartsOptions() = default;

  ThreadExecutorOptions executor;
  // Its data_dir is where attempts get their directories.
  actions::ExecOptions exec;
  std::map<std::string, int64_t> pools;
  std::vector<spec::Semaphore> semaphores;  // by rank
  Duration default_job_timeout = engine::kDefaultJobTimeout;
  // How processes are contained, and what the warden holds until everything it started is gone, as
  // the lock of a data directory.
  warden::ProcessHost::Options host;
};

struct Parts {
  // UNAVAILABLE: processes cannot be contained here, and why.
  static absl::StatusOr<std::unique_ptr<Parts>> Create(PartsOptions options);
  Parts() = default;
  ~Parts();
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  std::unique_ptr<ThreadExecutor> executor;
  actions::FunctionRegistry functions;
  std::unique_ptr<warden::ProcessHost> host;
  std::unique_ptr<actions::Exec> exec;
  std::unique_ptr<actions::Actions> actions;
  std::unique_ptr<store::MemoryStore> store;
  std::unique_ptr<engine::Engine> engine;
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_PARTS_H_
