#include "server/app/embedded.h"

#include <cerrno>
#include <cstdlib>
#include <limits>

#include "nursery/core/group.h"
#include "nursery/core/status.h"
#include "server/app/held_limits.h"
#include "server/engine/remove_tree.h"
#include "server/warden/run_cgroup.h"
#include "server/warden/run_process.h"

namespace nursery::app {
namespace {

// For an overloaded machine; its test of itself takes milliseconds.
constexpr std::chrono::milliseconds kWardenPatience{10'000};

absl::StatusOr<std::string> MakeDataDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/nursery-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return ErrnoError(errno, "cannot make a directory " + pattern + "; TMPDIR names another place");
  }
  return pattern;
}

// Who runs a job in a process of their own shares it with nobody; an ended job stays to be read.
engine::TableLimits OneJob() {
  engine::TableLimits limits;
  limits.live_jobs = 1;
  limits.nodes = std::numeric_limits<int64_t>::max();
  limits.bytes = std::numeric_limits<int64_t>::max();
  limits.ended_bytes = std::numeric_limits<int64_t>::max();
  limits.ended_age = Duration::max();
  return limits;
}

}  // namespace

spec::CompileOptions Embedded::CompileOptions() {
  spec::CompileOptions options;
  options.pools = {"default"};
  options.functions = actions::FunctionRegistry().Names();
  // There is no configuration to allow any.
  options.users.emplace();
  return options;
}

absl::StatusOr<std::unique_ptr<Embedded>> Embedded::Create(EmbeddedOptions options) {
  std::unique_ptr<Embedded> server(new Embedded);
  absl::Status built = server->Build(std::move(options));
  if (!built.ok()) return built;
  return server;
}

absl::Status Embedded::Build(EmbeddedOptions options) {
  absl::StatusOr<std::string> data_dir = MakeDataDir();
  if (!data_dir.ok()) return data_dir.status();
  data_dir_ = *data_dir;
  PartsOptions parts;
  parts.exec.environment = std::move(options.environment);
  parts.exec.data_dir = data_dir_;
  parts.exec.pass_stdin = options.pass_stdin;
  parts.exec.pass_output = options.pass_output;
  // It shares its own with others, as a shell's.
  parts.host.cgroup = warden::FindOwnCgroup().directory;
  const int64_t slots = 2 * int64_t{ThreadExecutor::AvailableCores()};
  parts.pools = {{"default", options.slots > 0 ? options.slots : slots}};
  absl::StatusOr<std::unique_ptr<Parts>> made = Parts::Create(std::move(parts));
  if (!made.ok()) return made.status();
  parts_ = *std::move(made);
  table_ = std::make_unique<engine::JobTable>(*parts_->engine, OneJob());
  spec::CompileOptions compile = CompileOptions();
  if (options.tells_limits) {
    // Without a warden no process starts, and each attempt says why.
    parts_->host->AwaitReady(kWardenPatience).IgnoreError();
    compile.not_enforced = [host = parts_->host.get()] { return NotEnforced(host->stats()); };
  }
  jobs_ = std::make_unique<rpc::JobService>(*table_, std::move(compile), rpc::AdmissionRules());
  jobs_->AddTo(methods_);
  rpc::ServerOptions serving;
  serving.max_message_bytes = -1;
  absl::StatusOr<std::unique_ptr<rpc::Server>> server =
      rpc::Server::Create(std::move(serving), methods_, *parts_->executor);
  if (!server.ok()) return server.status();
  server_ = *std::move(server);
  return absl::OkStatus();
}

Embedded::~Embedded() {
  server_.reset();
  table_.reset();
  parts_.reset();
  if (!data_dir_.empty()) engine::RemoveTree(data_dir_);
}

namespace {

// What runs, each with an end of its own: the calls end before the warden.
struct Scopes {
  explicit Scopes(const Context& context) : calls(context), warden(context) {}
  const CancelScope calls;
  const CancelScope warden;
};

Async<absl::Status> ServeAndCall(Group& group, rpc::Server* server, Scopes* scopes,
                                 Embedded::Client client) {
  const auto serve = [](Context, rpc::Server* self, Context until) {
    return self->Serve(std::move(until));
  };
  absl::Status done = group.TrySpawn("rpc", serve, server, scopes->calls.context());
  if (done.ok()) done = co_await client(group.context());
  scopes->calls.Cancel("the run has ended");
  co_return done;
}

Async<absl::Status> ServeAll(Group& group, rpc::Server* server, warden::ProcessHost* host,
                             Scopes* scopes, Embedded::Client client) {
  const auto serve_warden = [](Context, warden::ProcessHost* self, Context until) {
    return warden::ServeProcesses(std::move(until), self);
  };
  absl::Status serving = group.TrySpawn("warden", serve_warden, host, scopes->warden.context());
  if (!serving.ok()) co_return serving;
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult served =
      co_await WithGroup(group.context(), collect, ServeAndCall, server, scopes, std::move(client));
  scopes->warden.Cancel("the run has ended");
  co_return served.status;
}

Async<absl::Status> RunAll(Context context, rpc::Server* server, warden::ProcessHost* host,
                           Embedded::Client client) {
  Scopes scopes(context);
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result =
      co_await WithGroup(context, collect, ServeAll, server, host, &scopes, std::move(client));
  co_return result.status;
}

}  // namespace

absl::Status Embedded::Run(Client client) {
  return parts_->executor->Run("nursery run", [&](Context context) {
    return RunAll(std::move(context), server_.get(), parts_->host.get(), client);
  });
}

}  // namespace nursery::app
