#include "server/app/embedded.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "server/warden/run_process.h"

namespace nursery::app {
namespace {

absl::StatusOr<std::string> MakeDataDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/nursery-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return ErrnoError(errno, "cannot make a directory " + pattern + "; TMPDIR names another place");
  }
  return pattern;
}

}  // namespace

spec::CompileOptions Embedded::CompileOptions() {
  spec::CompileOptions options;
  options.pools = {"default"};
  options.functions = actions::FunctionRegistry().Names();
  return options;
}

absl::StatusOr<std::unique_ptr<Embedded>> Embedded::Create(EmbeddedOptions options) {
  std::unique_ptr<Embedded> server(new Embedded);
  absl::StatusOr<std::string> data_dir = MakeDataDir();
  if (!data_dir.ok()) return data_dir.status();
  server->data_dir_ = *data_dir;
  PartsOptions parts;
  parts.exec.environment = std::move(options.environment);
  parts.exec.data_dir = server->data_dir_;
  parts.exec.pass_stdin = options.pass_stdin;
  parts.exec.pass_output = options.pass_output;
  const int64_t slots = 2 * int64_t{ThreadExecutor::AvailableCores()};
  parts.pools = {{"default", options.slots > 0 ? options.slots : slots}};
  absl::StatusOr<std::unique_ptr<Parts>> made = Parts::Create(std::move(parts));
  if (!made.ok()) return made.status();
  server->parts_ = *std::move(made);
  return server;
}

Embedded::~Embedded() {
  parts_.reset();
  std::error_code ignored;
  if (!data_dir_.empty()) std::filesystem::remove_all(data_dir_, ignored);
}

namespace {

// What runs beside the job: the warden's reports and the caller's watch, each with an end of its
// own.
struct Services {
  explicit Services(const Context& context) : warden(context), watch(context) {}
  const CancelScope warden;
  const CancelScope watch;
};

Async<absl::Status> ServeWarden(Context, Services* services, warden::ProcessHost* host) {
  co_return co_await warden::ServeProcesses(services->warden.context(), host);
}

Async<absl::Status> RunWatch(Context, Services* services, Embedded::Watch watch,
                             std::shared_ptr<engine::Job> job) {
  absl::Status watched = co_await watch(services->watch.context(), job);
  // Ended with the job, perhaps before it had begun to look.
  co_return services->watch.context().cancelled() ? absl::OkStatus() : watched;
}

Async<absl::Status> RunJob(Group& group, Services* services, warden::ProcessHost* host,
                           Embedded::Watch watch, std::shared_ptr<engine::Job> job) {
  absl::Status serving = co_await group.Spawn("warden", ServeWarden, services, host);
  absl::Status watching = co_await group.Spawn("watch", RunWatch, services, watch, job);
  if (serving.ok() && watching.ok()) co_await job->Run(group.context());
  services->watch.Cancel("the job has ended");
  services->warden.Cancel("the job has ended");
  co_return serving.ok() ? watching : serving;
}

Async<absl::Status> RunAll(Context context, warden::ProcessHost* host, Embedded::Watch watch,
                           std::shared_ptr<engine::Job> job) {
  Services services(context);
  GroupOptions options;
  options.join = Join::Collect();
  GroupResult result = co_await WithGroup(context, options, RunJob, &services, host, watch, job);
  co_return result.status;
}

}  // namespace

absl::Status Embedded::Run(std::shared_ptr<engine::Job> job, Watch watch) {
  return parts_->executor->Run("nursery run", [&](Context context) {
    return RunAll(std::move(context), parts_->host.get(), watch, job);
  });
}

}  // namespace nursery::app
