// nurseryd: the server.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <system_error>

#include "nursery/core/dump.h"
#include "nursery/core/status.h"
#include "server/app/daemon.h"
#include "server/app/places.h"
#include "server/app/process.h"
#include "server/spec/scalar.h"

namespace nursery::app {
namespace {

constexpr int kUsage = 2;

int Complain(const absl::Status& status, int code) {
  std::fprintf(stderr, "nurseryd: %s\n", std::string(Message(status)).c_str());
  return code;
}

int Serve(DaemonOptions options) {
  if (options.data_dir.empty()) options.data_dir = DefaultDataDir();
  if (options.listen.empty()) options.listen = {"unix:" + DefaultSocket()};
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Create(std::move(options));
  if (!daemon.ok()) return Complain(daemon.status(), 1);
  std::fprintf(stderr, "nurseryd: containment %s\n", (*daemon)->containment().c_str());
  for (const std::string& address : (*daemon)->addresses()) {
    std::fprintf(stderr, "nurseryd: listening on %s\n", address.c_str());
  }
  if (const std::string http = (*daemon)->http_address(); !http.empty()) {
    std::fprintf(stderr, "nurseryd: metrics and health on http://%s\n", http.c_str());
  }
  const absl::Status done = (*daemon)->Run();
  return done.ok() ? 0 : Complain(done, 1);
}

int Main(int argc, char** argv) {
  CLI::App app("Serves job trees over gRPC.", "nurseryd");
  app.set_version_flag("--version", NURSERY_VERSION);
  app.footer(
      "Example: nurseryd --listen unix:/tmp/nursery.sock --data /tmp/nursery\n\n"
      "SIGTERM and SIGINT drain, a second one kills. SIGHUP reads the configuration and the\n"
      "tokens again: pool sizes, limits, retention and the bounds of time of jobs change.");
  DaemonOptions options;
  std::string drain;
  bool check_config = false;
  app.add_option("--listen", options.listen,
                 "unix:PATH, or HOST:PORT (port 0: a free one); may be given more than once")
      ->type_name("ADDRESS")
      ->allow_extra_args(false);
  app.add_option("--http", options.http,
                 "HOST:PORT on loopback for metrics and health (port 0: a free one), or none")
      ->capture_default_str()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->type_name("ADDRESS");
  app.add_option("--data", options.data_dir, "Directory of the server's own files")
      ->type_name("DIR");
  app.add_option("--config", options.config_file, "Configuration file (YAML or JSON)")
      ->type_name("FILE");
  app.add_flag("--check-config", check_config, "Check the configuration file, and do no more");
  app.add_option("--address-file", options.address_file,
                 "Written when the server is ready: {\"grpc\": ADDRESS, \"http\": ADDRESS}")
      ->type_name("FILE");
  app.add_option("--drain-timeout", drain, "How long jobs may take to end after SIGTERM: 30s")
      ->type_name("DURATION");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (!drain.empty()) {
    absl::StatusOr<std::chrono::nanoseconds> bound = spec::ParseDuration(drain);
    if (!bound.ok()) return Complain(Annotate(bound.status(), "--drain-timeout"), kUsage);
    options.drain_timeout = *bound;
  }
  if (!check_config) return Serve(std::move(options));
  std::string not_here;
  const absl::Status config = ReadConfig(options.config_file, &not_here).status();
  if (!config.ok()) return Complain(config, kUsage);
  if (!not_here.empty()) {
    std::fprintf(stderr, "nurseryd: not checked: exec.users: %s\n", not_here.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace nursery::app

int main(int argc, char** argv) {
  // One heap for all threads: what a connection leaves behind would stay in the heap of the thread
  // that read it, and each thread's would keep the most that it ever had.
  mallopt(M_ARENA_MAX, 1);
  return nursery::app::RunProgram([&] { return nursery::app::Main(argc, argv); });
}
