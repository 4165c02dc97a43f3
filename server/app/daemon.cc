#include "server/app/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <random>
#include <sstream>
#include <utility>

#include "absl/strings/str_replace.h"
#include "nursery/core/blocking.h"
#include "nursery/core/clock.h"
#include "nursery/core/dump.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/app/accounts.h"
#include "server/app/auth_files.h"
#include "server/app/held_limits.h"
#include "server/app/job_settings.h"
#include "server/app/settings.h"
#include "server/engine/convert.h"
#include "server/ops/metrics.h"
#include "server/ops/pages.h"
#include "server/rpc/health.h"
#include "server/rpc/introspection_service.h"
#include "server/rpc/job_service.h"
#include "server/spec/json.h"
#include "server/warden/run_cgroup.h"
#include "server/warden/run_process.h"

extern char** environ;

namespace nursery::app {
namespace {

// After the drain's bound: what does not end then never will.
constexpr unsigned kWatchdogSeconds = 4;
// For an overloaded machine; its test of itself takes milliseconds.
constexpr std::chrono::milliseconds kWardenPatience{10'000};
// A second signal, or the bound, kills; this long is waited for the dead.
constexpr std::chrono::seconds kAfterKill{2};

// The variables of the server's environment that processes get.
std::vector<std::string> PassedOn(const v1::ExecConfig& config) {
  std::vector<std::string> names(config.pass_env().begin(), config.pass_env().end());
  if (names.empty()) names = {"PATH", "LANG", "LC_ALL", "TZ"};
  std::vector<std::string> variables;
  for (const std::string& name : names) {
    const char* value = std::getenv(name.c_str());
    if (value != nullptr) variables.push_back(name + "=" + value);
  }
  return variables;
}

// Without those that `to` has already.
void AddMissing(const std::vector<std::string>& names, std::vector<std::string>* to) {
  for (const std::string& name : names) {
    if (std::find(to->begin(), to->end(), name) == to->end()) to->push_back(name);
  }
}

void LogReloaded(const std::vector<std::string>& fixed) {
  std::string line = "nurseryd: configuration reloaded";
  for (const std::string& field : fixed) {
    line += (&field == &fixed.front() ? "; only a restart changes " : ", ") + field;
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

void LogNotReloaded(const absl::Status& status) {
  const std::string mistakes = absl::StrReplaceAll(std::string(Message(status)), {{"\n", "; "}});
  std::fprintf(stderr, "nurseryd: configuration not reloaded, all stays as it was: %s\n",
               mistakes.c_str());
}

void LogStall(const Stall& stall) {
  std::ostringstream line;
  line << "nurseryd: a task keeps its scheduler thread: " << stall << "\n";
  std::fputs(line.str().c_str(), stderr);
}

// Chance, so that no two starts have the same.
std::string NewInstanceId() {
  std::random_device chance;
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (int i = 0; i < 4; ++i) text << std::setw(8) << chance();
  return text.str();
}

extern "C" void OnWatchdog(int) { _exit(0); }

}  // namespace

// What runs, each with an end of its own: the calls end before the jobs, the jobs before the
// warden.
struct Daemon::Scopes {
  explicit Scopes(const Context& context) : calls(context), jobs(context), warden(context) {}
  const CancelScope calls;
  const CancelScope jobs;
  const CancelScope warden;
};

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Create(DaemonOptions options) {
  absl::StatusOr<v1::ServerConfig> config = ReadConfig(options.config_file);
  if (!config.ok()) return config.status();
  absl::StatusOr<DataDir> data_dir = DataDir::Open(options.data_dir);
  if (!data_dir.ok()) return data_dir.status();
  if (const std::string open_to = data_dir->OpenToOthers(); !open_to.empty()) {
    std::fprintf(stderr, "nurseryd: warning: %s\n", open_to.c_str());
  }
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options), *std::move(data_dir)));
  NURSERY_RETURN_IF_ERROR(daemon->Build(*config));
  NURSERY_RETURN_IF_ERROR(daemon->WriteAddressFile());
  return daemon;
}

Daemon::Daemon(DaemonOptions options, DataDir data_dir)
    : Daemon(std::move(options), std::move(data_dir), MakeChannel<StopRequest>(4)) {}

Daemon::Daemon(DaemonOptions options, DataDir data_dir,
               std::pair<Sender<StopRequest>, Receiver<StopRequest>> stops)
    : options_(std::move(options)),
      data_dir_(std::move(data_dir)),
      stop_(std::move(stops.first)),
      stops_(std::move(stops.second)) {}

Daemon::~Daemon() = default;

absl::StatusOr<rpc::Tokens> Daemon::ReadTokens(const v1::ServerConfig& config) const {
  const std::string& file = config.auth().token_file();
  return file.empty() ? rpc::Tokens::ReadOrMake(data_dir_.token_file()) : rpc::Tokens::Read(file);
}

absl::Status Daemon::Build(const v1::ServerConfig& config) {
  config_ = config;
  rpc::ServerOptions options;
  options.listen = options_.listen;
  absl::StatusOr<std::optional<rpc::TlsFiles>> tls = ReadTls(config.auth());
  if (!tls.ok()) return tls.status();
  tls_ = *std::move(tls);
  options.tls = tls_;
  absl::StatusOr<rpc::Tokens> tokens = ReadTokens(config);
  if (!tokens.ok()) return tokens.status();
  tokens_ = std::make_shared<rpc::CurrentTokens>(*std::move(tokens));
  options.tokens = tokens_;
  options.limits = ServerLimitsOf(config);
  options.calls_per_connection = CallsPerConnectionOf(config);
  PartsOptions parts;
  parts.executor.max_tasks = MaxTasksOf(config);
  parts.executor.on_stall = LogStall;
  parts.exec.environment = PassedOn(config.exec());
  parts.exec.data_dir = data_dir_.scratch();
  parts.exec.max_output = MaxOutputOf(config);
  parts.exec.allow_new_privileges = config.exec().allow_new_privileges();
  absl::StatusOr<std::map<std::string, actions::Account>> accounts = AccountsOf(config);
  if (!accounts.ok()) return accounts.status();
  parts.exec.accounts = *std::move(accounts);
  if (!parts.exec.accounts.empty()) NURSERY_RETURN_IF_ERROR(data_dir_.LetOthersThrough());
  parts.pools = PoolsOf(config);
  parts.semaphores = SemaphoresOf(config);
  parts.default_job_timeout = DefaultJobTimeout(config);
  NURSERY_RETURN_IF_ERROR(MakeParts(std::move(parts)));
  table_ = std::make_unique<engine::JobTable>(*parts_->engine, TableLimitsOf(config));
  spec::CompileOptions compile =
      CompileOptionsOf(config, parts_->engine->PoolNames(), parts_->functions.Names());
  compile.not_enforced = [host = parts_->host.get()] { return NotEnforced(host->stats()); };
  rpc::ServerFacts facts;
  facts.version = NURSERY_VERSION;
  facts.instance_id = NewInstanceId();
  facts.job_limits = [this] { return jobs_->compile()->limits; };
  facts.functions = parts_->functions.Names();
  facts.enforced = [host = parts_->host.get()] { return Enforced(host->stats()); };
  facts.processes = [this] { return static_cast<int64_t>(parts_->host->stats().live); };
  facts.calls = [this] { return server_->calls(); };
  facts.watchers = [this] { return jobs_->watchers(); };
  facts.drain = [this](std::optional<Duration> bound) {
    const auto live = static_cast<int64_t>(table_->Live().size());
    StopRequest request;
    request.bound = bound.value_or(options_.drain_timeout);
    // Full: it is stopping anyway.
    stop_.TrySend(request).IgnoreError();
    return live;
  };
  jobs_ = std::make_unique<rpc::JobService>(*table_, std::move(compile), RulesOf(config));
  introspection_ = std::make_unique<rpc::IntrospectionService>(*table_, std::move(facts));
  jobs_->AddTo(methods_);
  introspection_->AddTo(methods_);
  rpc::AddHealth(methods_, [this] { return !server_->draining(); });
  rpc::AddReflection(methods_);
  absl::StatusOr<std::unique_ptr<rpc::Server>> server =
      rpc::Server::Create(std::move(options), methods_, *parts_->executor);
  if (!server.ok()) return server.status();
  server_ = *std::move(server);
  return StartHttp();
}

absl::Status Daemon::MakeParts(PartsOptions options) {
  const warden::CgroupPlace cgroups = warden::MoveAside();
  options.host.hold_fds = {data_dir_.lock_fd()};
  options.host.level = LevelOf(config_);
  options.host.cgroup = cgroups.directory;
  options.host.instance = data_dir_.instance().id;
  options.host.cgroup_record = data_dir_.instance().record;
  absl::StatusOr<std::unique_ptr<Parts>> made = Parts::Create(std::move(options));
  if (!made.ok()) return made.status();
  parts_ = *std::move(made);
  const std::string why_not =
      cgroups.why_not.empty() ? "" : " (no cgroups: " + cgroups.why_not + ")";
  absl::Status ready = parts_->host->AwaitReady(kWardenPatience);
  if (!ready.ok()) return Annotate(ready, "exec" + why_not);
  containment_ = std::string(warden::LevelName(parts_->host->stats().level)) + why_not;
  const char* separator = " (not enforced: limits of ";
  for (const auto& [limit, reason] : NotEnforced(parts_->host->stats())) {
    containment_.append(std::exchange(separator, ", ")).append(limit);
  }
  if (separator[0] == ',') containment_ += ")";
  return absl::OkStatus();
}

absl::Status Daemon::StartHttp() {
  if (options_.http == "none") return absl::OkStatus();
  absl::StatusOr<ops::LoopbackAddress> address = ops::ParseLoopback(options_.http);
  if (!address.ok()) return address.status();
  ops::MetricSources sources;
  sources.executor = parts_->executor.get();
  sources.table = table_.get();
  sources.server = server_.get();
  sources.host = parts_->host.get();
  sources.version = NURSERY_VERSION;
  ops::PagesOptions options;
  options.host = address->host;
  options.tokens = tokens_;
  options.metrics = [metrics = ops::Metrics(std::move(sources))] { return metrics.Text(); };
  options.tasks = [](DumpFormat format, bool only_stuck) {
    return only_stuck ? DumpStuckTasks(format) : DumpAllTasks(format);
  };
  options.not_ready = [this]() -> std::string {
    if (server_->draining()) return "the server is stopping";
    return server_->serving() ? "" : "the server is starting";
  };
  const auto pages = std::make_shared<const ops::Pages>(std::move(options));
  absl::StatusOr<std::unique_ptr<ops::HttpServer>> http = ops::HttpServer::Start(
      options_.http, [pages](const ops::HttpRequest& request) { return pages->Answer(request); });
  if (!http.ok()) return http.status();
  http_ = *std::move(http);
  return absl::OkStatus();
}

absl::Status Daemon::WriteAddressFile() const {
  if (options_.address_file.empty()) return absl::OkStatus();
  // A reader sees all of it or nothing.
  const std::string draft = options_.address_file + ".new";
  std::ofstream stream(draft);
  stream << "{\"grpc\":" << spec::JsonQuote(addresses().front())
         << ",\"http\":" << spec::JsonQuote(http_address()) << "}\n";
  stream.close();
  if (!stream || rename(draft.c_str(), options_.address_file.c_str()) != 0) {
    return ErrnoError(errno, "cannot write " + options_.address_file);
  }
  return absl::OkStatus();
}

absl::Status Daemon::Run() {
  return parts_->executor->Run("nurseryd",
                               [&](Context context) { return RunAll(std::move(context), this); });
}

Async<absl::Status> Daemon::RunAll(Context context, Daemon* daemon) {
  Scopes scopes(context);
  GroupOptions collect;
  collect.join = Join::Collect();
  GroupResult result = co_await WithGroup(context, collect, SpawnAll, daemon, &scopes);
  co_return result.status;
}

Async<absl::Status> Daemon::SpawnAll(Group& group, Daemon* daemon, Scopes* scopes) {
  const Context calls = scopes->calls.context();
  const Context jobs = scopes->jobs.context();
  const Context warden = scopes->warden.context();
  const CancelScope signals(group.context());
  const auto serve_warden = [](Context, Daemon* self, Context until) {
    return warden::ServeProcesses(std::move(until), self->parts_->host.get());
  };
  const auto run_jobs = [](Context, Daemon* self, Context until) {
    return self->table_->RunDetached(std::move(until));
  };
  const auto wait_for_signals = [](Context, Daemon* self, Context until) {
    return WaitForSignals(std::move(until), self);
  };
  absl::Status spawned = group.TrySpawn("warden", serve_warden, daemon, warden);
  if (spawned.ok()) spawned = group.TrySpawn("jobs", run_jobs, daemon, jobs);
  if (spawned.ok()) {
    spawned = group.TrySpawn("signals", wait_for_signals, daemon, signals.context());
  }
  if (!spawned.ok()) co_return spawned;
  const Context inner = group.context();
  GroupOptions collect;
  collect.join = Join::Collect();
  const auto serve_and_stop = [](Group& rpc_group, Daemon* self, Context until,
                                 const CancelScope* ends) -> Async<absl::Status> {
    const auto serve = [](Context, Daemon* served, Context within) {
      return served->server_->Serve(std::move(within));
    };
    absl::Status serving = rpc_group.TrySpawn("rpc", serve, self, until);
    if (!serving.ok()) co_return serving;
    absl::StatusOr<StopRequest> stop = co_await self->stops_.Receive(rpc_group.context());
    const Duration bound = stop.ok() ? stop->bound : Duration();
    co_await Drain(rpc_group.context(), self, bound);
    ends->Cancel("the server stops");
    co_return absl::OkStatus();
  };
  GroupResult served =
      co_await WithGroup(inner, collect, serve_and_stop, daemon, calls, &scopes->calls);
  scopes->jobs.Cancel("the server stops");
  signals.Cancel("the server stops");
  // Jobs have ended; the warden goes last.
  scopes->warden.Cancel("the server stops");
  co_return served.status;
}

Async<absl::Status> Daemon::WaitForSignals(Context context, Daemon* daemon) {
  for (;;) {
    absl::StatusOr<int> number = co_await daemon->signals_.Next(context);
    if (!number.ok()) co_return absl::OkStatus();
    if (*number == SIGHUP) {
      auto reload = [daemon] { return daemon->Reload(); };
      absl::Status reloaded = co_await RunBlocking(context, std::move(reload));
      if (!reloaded.ok()) LogNotReloaded(reloaded);
      continue;
    }
    StopRequest request;
    request.bound = daemon->options_.drain_timeout;
    daemon->stop_.TrySend(request).IgnoreError();
  }
}

absl::Status Daemon::Reload() {
  absl::StatusOr<v1::ServerConfig> config = ReadConfig(options_.config_file);
  if (!config.ok()) return config.status();
  absl::StatusOr<rpc::Tokens> tokens = ReadTokens(*config);
  if (!tokens.ok()) return tokens.status();
  absl::StatusOr<std::optional<rpc::TlsFiles>> tls = ReadTls(config->auth());
  if (!tls.ok()) return tls.status();
  // From here on nothing can fail.
  tokens_->Replace(*std::move(tokens));
  parts_->engine->ResizePools(PoolsOf(*config));
  table_->SetLimits(TableLimitsOf(*config));
  server_->SetLimits(ServerLimitsOf(*config));
  spec::CompileOptions compile = *jobs_->compile();
  SetJobLimits(*config, &compile);
  jobs_->SetCompile(std::move(compile));
  std::vector<std::string> fixed = FixedChanges(config_, *config);
  // A certificate that was renewed at its place.
  AddMissing(RenewedTls(tls_, *tls), &fixed);
  LogReloaded(fixed);
  return absl::OkStatus();
}

int64_t Daemon::CancelAll(bool kill) {
  int64_t count = 0;
  for (const std::shared_ptr<engine::Job>& job : table_->Live()) {
    engine::CancelRequest request;
    request.drain = true;
    request.kill = kill;
    request.reason = "the server stops";
    request.actor = "server";
    job->Cancel(request).IgnoreError();
    ++count;
  }
  return count;
}

Async<bool> Daemon::WaitForJobs(Context context, Daemon* daemon, Time until) {
  const CancelScope bounded(context, until, "drain");
  for (;;) {
    const std::vector<std::shared_ptr<engine::Job>> live = daemon->table_->Live();
    if (live.empty()) co_return true;
    // A second request to stop is one to hurry.
    const engine::BellReceiver bell = live.front()->Watch();
    if (live.front()->done()) {
      co_await Yield();
      continue;
    }
    ReceiveCase<engine::Tick> rung(bell);
    ReceiveCase<StopRequest> hurry(daemon->stops_);
    absl::StatusOr<size_t> ready = co_await Select(bounded.context(), rung, hurry);
    if (!ready.ok() || *ready == 1) co_return false;
  }
}

Async<void> Daemon::Drain(Context context, Daemon* daemon, Duration bound) {
  std::signal(SIGALRM, OnWatchdog);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(bound + kAfterKill).count();
  alarm(static_cast<unsigned>(seconds) + kWatchdogSeconds);
  daemon->server_->BeginDrain();
  // Calls that are past the server's admission admit no job any more, so all are cancelled below.
  daemon->table_->Close();
  daemon->CancelAll(/*kill=*/false);
  bool ended = co_await WaitForJobs(context, daemon, Later(context.Now(), bound));
  if (ended) co_return;
  daemon->CancelAll(/*kill=*/true);
  ended = co_await WaitForJobs(context, daemon, Later(context.Now(), kAfterKill));
}

}  // namespace nursery::app
