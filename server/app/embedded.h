// Embedded: a server without ports inside the calling process, for one job at a time. It is
// composed of the same parts as the service: engine, actions, warden, store.
//
// Thread safety: one thread. Lifetime: made before other threads when it runs processes.
//
//   absl::StatusOr<std::unique_ptr<Embedded>> server = Embedded::Create(options);
//   absl::Status done = (*server)->Run(job, Watch);   // Async<absl::Status> Watch(Context, job)
#ifndef NURSERY_SERVER_APP_EMBEDDED_H_
#define NURSERY_SERVER_APP_EMBEDDED_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/app/parts.h"
#include "server/spec/compile.h"

namespace nursery::app {

struct EmbeddedOptions {
  EmbeddedOptions() = default;

  // Slots of pool `default`; 0: twice the cores.
  int64_t slots = 0;
  // What processes get as environment.
  std::vector<std::string> environment;
  bool pass_stdin = false;
  bool pass_output = false;
};

class Embedded {
 public:
  // What jobs may name here: pools and functions.
  static spec::CompileOptions CompileOptions();

  // UNAVAILABLE: processes cannot be contained here, and why.
  static absl::StatusOr<std::unique_ptr<Embedded>> Create(EmbeddedOptions options);
  ~Embedded();
  Embedded(const Embedded&) = delete;
  Embedded& operator=(const Embedded&) = delete;

  engine::Engine& engine() { return *parts_->engine; }

  // Runs `job` and beside it `watch`, whose context is cancelled when the job has ended. Blocks
  // until both have, and nothing that the job started is left.
  using Watch =
      std::function<Async<absl::Status>(Context context, std::shared_ptr<engine::Job> job)>;
  absl::Status Run(std::shared_ptr<engine::Job> job, Watch watch);

 private:
  Embedded() = default;

  std::string data_dir_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_EMBEDDED_H_
