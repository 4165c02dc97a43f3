#include "server/app/embedded.h"

#include <poll.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "server/engine/limits.h"
#include "server/warden/run_process.h"

namespace nursery::app {
namespace {

uint64_t RandomSeed() {
  uint64_t seed = 0;
  NURSERY_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

absl::StatusOr<std::string> MakeDataDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/nursery-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return ErrnoError(errno, "cannot make a directory " + pattern + "; TMPDIR names another place");
  }
  return pattern;
}

v1::Containment ContainmentOf(const warden::ProcessHost& host) {
  switch (host.stats().level) {
    case warden::Level::kNone:
      return v1::CONTAINMENT_UNSPECIFIED;
    case warden::Level::kGroup:
      return v1::CONTAINMENT_GROUP;
    case warden::Level::kSubreaper:
      return v1::CONTAINMENT_SUBREAPER;
    case warden::Level::kCgroup:
      return v1::CONTAINMENT_CGROUP;
  }
  __builtin_unreachable();
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
  server->host_ = std::make_unique<warden::ProcessHost>(warden::ProcessHost::Options{});
  NURSERY_RETURN_IF_ERROR(server->host_->Start());
  server->executor_ = std::make_unique<ThreadExecutor>();
  actions::ExecOptions exec;
  exec.environment = options.environment;
  exec.data_dir = server->data_dir_;
  exec.pass_stdin = options.pass_stdin;
  exec.pass_output = options.pass_output;
  server->exec_ = std::make_unique<actions::Exec>(*server->host_, exec);
  server->actions_ = std::make_unique<actions::Actions>(server->functions_, server->exec_.get());
  server->store_ = std::make_unique<store::MemoryStore>(engine::kEventLogBytes);
  engine::EngineOptions engine;
  engine.clock = &server->executor_->clock();
  engine.actions = server->actions_.get();
  engine.store = server->store_.get();
  const int64_t slots = 2 * int64_t{ThreadExecutor::AvailableCores()};
  engine.pools = {{"default", options.slots > 0 ? options.slots : slots}};
  engine.data_dir = server->data_dir_;
  engine.seed = RandomSeed();
  engine.containment = [host = server->host_.get()] { return ContainmentOf(*host); };
  server->engine_ = std::make_unique<engine::Engine>(engine);
  return server;
}

Embedded::~Embedded() {
  // Nobody else makes the host's calls when no job ran.
  if (host_ != nullptr) host_->Stop();
  while (host_ != nullptr && !host_->stopped()) {
    pollfd readable = {host_->fd(), POLLIN, 0};
    poll(&readable, 1, -1);
    host_->OnReadable();
  }
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
  return executor_->Run("nursery run", [&](Context context) {
    return RunAll(std::move(context), host_.get(), watch, job);
  });
}

}  // namespace nursery::app
