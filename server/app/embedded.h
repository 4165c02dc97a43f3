// Embedded: a server without ports inside the calling process. It is composed of the same parts as
// the server program and answers the same calls, over a channel of this process.
//
// Thread safety: one thread; the channel is for any. Lifetime: made before other threads when it
// runs processes; calls over the channel only while Run goes on.
//
//   absl::StatusOr<std::unique_ptr<Embedded>> server = Embedded::Create(options);
//   absl::Status done = (*server)->Run(Client);   // Async<absl::Status> Client(Context)
#ifndef NURSERY_SERVER_APP_EMBEDDED_H_
#define NURSERY_SERVER_APP_EMBEDDED_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/app/parts.h"
#include "server/engine/job_table.h"
#include "server/rpc/job_service.h"
#include "server/rpc/server.h"
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
  // Jobs with limits of memory, pids or cpu_weight tell which of them do not hold here. Waits for
  // the warden, a few milliseconds.
  bool tells_limits = false;
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

  std::shared_ptr<grpc::Channel> Channel() { return server_->InProcessChannel(); }

  // Answers calls for as long as `client` runs. Returns when every call has ended too, and nothing
  // that a job started is left.
  using Client = std::function<Async<absl::Status>(Context context)>;
  absl::Status Run(Client client);

 private:
  Embedded() = default;
  absl::Status Build(EmbeddedOptions options);

  std::string data_dir_;
  std::unique_ptr<Parts> parts_;
  std::unique_ptr<engine::JobTable> table_;
  std::unique_ptr<rpc::JobService> jobs_;
  rpc::Methods methods_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_EMBEDDED_H_
