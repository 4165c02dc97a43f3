// nursery: the command line. Parses options and hands over to one command.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "server/app/process.h"
#include "server/spec/violation.h"

namespace nursery::cli {
namespace {

void AddOutput(CLI::App* command, OutputOptions* options) {
  command
      ->add_option_function<std::string>(
          "-o,--output", [options](const std::string& form) { options->json = form == "json"; },
          "text or json (one document, snake_case, durations in seconds)")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("FORM");
}

void AddParameters(CLI::App* command, std::vector<std::string>* parameters) {
  command->add_option("-p,--param", *parameters, "A value for a parameter of the job")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

void AddServer(CLI::App* command, ServerOptions* options) {
  command
      ->add_option("--server", options->server,
                   "unix:PATH or HOST:PORT (default: NURSERY_SERVER, or the local socket)")
      ->type_name("ADDRESS");
  command->add_option("--token-file", options->token_file, "The bearer token for a TCP server")
      ->type_name("FILE");
  command
      ->add_option("--tls-ca", options->tls_ca_file,
                   "Speak TLS; who signed the server's certificate")
      ->type_name("FILE");
  CLI::Option* certificate =
      command
          ->add_option("--tls-cert", options->tls_certificate_file,
                       "Our certificate, for a server that asks for one (with --tls-ca, --tls-key)")
          ->type_name("FILE");
  CLI::Option* key =
      command->add_option("--tls-key", options->tls_key_file, "The key to it")->type_name("FILE");
  certificate->needs(key);
  key->needs(certificate);
}

CLI::App* AddRun(CLI::App& app, RunOptions* options) {
  CLI::App* run = app.add_subcommand(
      "run", "Run a job file, or a command, here and now; a file on a server if one is named");
  run->add_option("file", options->file, "The job file (YAML or JSON)")->type_name("FILE");
  run->add_option("--each-line", options->each_line,
                  "Run the command once for each line of FILE (- is stdin); {} stands for the line")
      ->type_name("FILE");
  run->add_option("--workers", options->workers, "How many lines at once (with --each-line)")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}));
  run->add_option("--slots", options->slots,
                  "How many actions may run at once here (default: twice the cores)")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}));
  run->add_option("--timeout", options->timeout,
                  "Bound for the whole, as in 10m (overrides the file's)")
      ->type_name("DURATION");
  run->add_option("--grace", options->grace,
                  "Between SIGTERM and SIGKILL, as in 500ms (with a command; default 5s)")
      ->type_name("DURATION");
  AddServer(run, &options->server);
  AddParameters(run, &options->parameters);
  AddOutput(run, &options->output);
  run->footer(
      "Examples:\n"
      "  nursery run build.yaml\n"
      "  nursery run --timeout 10s -- make -j4\n"
      "  nursery run --each-line urls.txt --workers 8 -- curl -sO {}\n"
      "\n"
      "With --server, or NURSERY_SERVER in the environment, a file runs on that server; a\n"
      "command runs here in any case.\n"
      "Ctrl-C cancels the job and shows what was taken down; a second one kills at once, a\n"
      "third one gives up waiting.\n"
      "Exit codes: 0 succeeded, 1 failed, 2 usage or invalid job, 3 cancelled, 4 deadline\n"
      "exceeded, 5 no server, 6 refused. With -- COMMAND the command's own, and 124 deadline,\n"
      "125 ours, 126 not executable, 127 not found, 128 + the signal that killed it.");
  return run;
}

CLI::App* AddValidate(CLI::App& app, ValidateOptions* options) {
  CLI::App* validate =
      app.add_subcommand("validate", "Check a job file; every error with its place");
  validate->add_option("file", options->file, "The job file (YAML or JSON)")
      ->type_name("FILE")
      ->required();
  AddParameters(validate, &options->parameters);
  AddOutput(validate, &options->output);
  validate->footer("Example:\n  nursery validate nightly.yaml\n\nExit codes: 0 valid, 2 not.");
  return validate;
}

// The commands that talk to a server.
class RemoteCommands {
 public:
  explicit RemoteCommands(CLI::App& app) {
    AddSubmit(app);
    AddList(app);
    AddJob(app, &show_, "show", "Show a job's tree, errors and last cancel", Show, "nightly");
    AddJob(app, &watch_, "watch", "Print what happens in a job until it ends", Watch, "nightly");
    AddLogs(app);
    AddCancel(app);
    AddExplain(app);
    AddDump(app);
    AddDrain(app);
  }

  // The exit code of the command that was given; nothing if it was none of these.
  std::optional<int> Run() const {
    for (const auto& [command, run] : commands_) {
      if (command->parsed()) return run();
    }
    return std::nullopt;
  }

 private:
  CLI::App* Add(CLI::App& app, const std::string& name, const std::string& what,
                ServerOptions* server, std::function<int()> run, const std::string& example) {
    CLI::App* command = app.add_subcommand(name, what);
    AddServer(command, server);
    command->footer("Example:\n  nursery " + name + (example.empty() ? "" : " " + example) +
                    "\n\nExit codes: 0 done, 1 failed, 2 usage, 5 no server, 6 refused.");
    commands_.emplace_back(command, std::move(run));
    return command;
  }
  static void AddJobName(CLI::App* command, std::string* job) {
    command->add_option("job", *job, "An id, the beginning of one, or a name")
        ->type_name("JOB")
        ->required();
  }
  static void AddPath(CLI::App* command, std::string* path) {
    command->add_option("path", *path, "A node of it, as in build/test or fetch[17]")
        ->type_name("PATH");
  }

  void AddSubmit(CLI::App& app) {
    CLI::App* submit = Add(
        app, "submit", "Hand a job file to the server, and print the job's id", &submit_.server,
        [this] { return Submit(submit_); }, "nightly.yaml");
    submit->add_option("file", submit_.file, "The job file (YAML or JSON)")
        ->type_name("FILE")
        ->required();
    AddParameters(submit, &submit_.parameters);
    AddOutput(submit, &submit_.output);
  }
  void AddList(CLI::App& app) {
    CLI::App* list = Add(
        app, "ls", "List jobs, the newest first", &list_.server, [this] { return List(list_); },
        "-n 5");
    list->add_option("-n,--count", list_.count, "How many (default 20)")
        ->check(CLI::Range(1, 1000));
    AddOutput(list, &list_.output);
  }
  void AddJob(CLI::App& app, JobOptions* options, const std::string& name, const std::string& what,
              int (*run)(const JobOptions&), const std::string& example) {
    CLI::App* command =
        Add(app, name, what, &options->server, [options, run] { return run(*options); }, example);
    AddJobName(command, &options->job);
    AddOutput(command, &options->output);
  }
  void AddLogs(CLI::App& app) {
    CLI::App* logs = Add(
        app, "logs", "Print the output of a node", &logs_.server, [this] { return Logs(logs_); },
        "nightly fetch[3]");
    AddJobName(logs, &logs_.job);
    AddPath(logs, &logs_.path);
    logs->add_flag("-f,--follow", logs_.follow, "Go on until the node has ended");
    logs->add_option("-n,--lines", logs_.lines, "So many lines before the end (default all)")
        ->check(CLI::NonNegativeNumber);
    logs->add_option("--attempt", logs_.attempt, "Which attempt, from 1 (default the last)")
        ->check(CLI::PositiveNumber);
  }
  void AddCancel(CLI::App& app) {
    CLI::App* cancel = Add(
        app, "cancel", "Cancel a job or a part of it", &cancel_.server,
        [this] { return Cancel(cancel_); }, "--wait nightly --reason \"wrong input\"");
    AddJobName(cancel, &cancel_.job);
    AddPath(cancel, &cancel_.path);
    cancel->add_option("--reason", cancel_.reason, "Why, for the receipt and the logs");
    cancel->add_flag("--wait", cancel_.wait, "Until all of it is verified gone");
    cancel
        ->add_option("--grace", cancel_.grace, "From SIGTERM to SIGKILL, instead of the nodes' own")
        ->type_name("DURATION");
    cancel->add_flag("--kill", cancel_.kill, "SIGKILL at once, and no clean-up");
    AddOutput(cancel, &cancel_.output);
  }
  void AddExplain(CLI::App& app) {
    CLI::App* explain = Add(
        app, "explain", "Say what a node waits for, or why it ended so", &explain_.server,
        [this] { return Explain(explain_); }, "nightly load");
    AddJobName(explain, &explain_.job);
    AddPath(explain, &explain_.path);
  }
  void AddDump(CLI::App& app) {
    CLI::App* dump = Add(
        app, "dump", "Print what every task of the server is doing", &dump_.server,
        [this] { return Dump(dump_); }, "");
    dump->add_flag("--aggregate", dump_.aggregate,
                   "Tasks that do the same at the same line together, with their number");
    dump->add_flag("--stuck", dump_.only_stuck,
                   "Only tasks that live although they were cancelled more than a minute ago");
    dump->add_option("--diff", dump_.diff,
                     "No server: what has grown between two dumps of --aggregate (- is stdin)")
        ->type_name("BEFORE AFTER")
        ->expected(2);
    AddOutput(dump, &dump_.output);
    dump->footer(
        "Examples:\n"
        "  nursery dump\n"
        "  nursery dump --aggregate > before.txt\n"
        "  nursery dump --aggregate | nursery dump --diff before.txt -\n"
        "\n"
        "Exit codes: 0 done, 1 failed, 2 usage or no aggregated dump, 5 no server, 6 refused.");
  }
  void AddDrain(CLI::App& app) {
    CLI::App* drain = Add(
        app, "drain", "Cancel all jobs and stop the server", &drain_.server,
        [this] { return Drain(drain_); }, "--timeout 10s");
    drain
        ->add_option("--timeout", drain_.timeout,
                     "How long jobs may take to end (default: the server's --drain-timeout)")
        ->type_name("DURATION");
  }

  SubmitOptions submit_;
  ListOptions list_;
  JobOptions show_;
  JobOptions watch_;
  LogsOptions logs_;
  CancelOptions cancel_;
  JobOptions explain_;
  DumpOptions dump_;
  DrainOptions drain_;
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands_;
};

int ExitOfParser(const CLI::App& app, const CLI::ParseError& error) {
  const int code = app.exit(error);
  return code == 0 ? kSucceeded : kUsage;
}

// What follows `--` is a command line of its own; the parser must not look at it.
std::vector<std::string> SplitCommand(int* argc, char** argv) {
  for (int i = 1; i < *argc; ++i) {
    if (std::string_view(argv[i]) != "--") continue;
    std::vector<std::string> command(argv + i + 1, argv + *argc);
    *argc = i;
    return command;
  }
  return {};
}

// The parser would say no more than that a command is required.
void CheckCommand(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_name() == argv[1]) return;
    names.push_back(command->get_name());
  }
  const std::string closest = spec::Closest(argv[1], names);
  throw CLI::ValidationError(
      argv[1], "is no command; " + (closest.empty() ? "there are " + spec::Listed(names)
                                                    : "did you mean '" + closest + "'?"));
}

// What only a server of our own can do.
void CheckRemoteRun(const RunOptions& options) {
  const std::string only_here = options.server.server.empty()
                                    ? "it belongs to a run here, but NURSERY_SERVER names " +
                                          ServerVariable() +
                                          "; run with NURSERY_SERVER= to run here"
                                    : "not with --server: it belongs to a run here";
  if (!options.command.empty()) throw CLI::ValidationError("--", only_here);
  if (options.slots > 0) throw CLI::ValidationError("--slots", only_here);
}

int Main(int argc, char** argv) {
  CLI::App app("Runs trees of work that cannot leak.", "nursery");
  app.require_subcommand(1);
  app.set_version_flag("--version", NURSERY_VERSION);
  app.footer("`nursery COMMAND --help` shows a command's options and an example.");
  RunOptions run_options;
  ValidateOptions validate_options;
  OutputOptions version_options;
  run_options.command = SplitCommand(&argc, argv);
  const bool has_command = !run_options.command.empty();
  CLI::App* run = AddRun(app, &run_options);
  CLI::App* validate = AddValidate(app, &validate_options);
  CLI::App* version = app.add_subcommand("version", "Show the version");
  AddOutput(version, &version_options);
  RemoteCommands remote(app);
  try {
    CheckCommand(app, argc, argv);
    app.parse(argc, argv);
    if (has_command && !*run) throw CLI::ExtrasError({"--"});
    if (*run && has_command == !run_options.file.empty()) {
      throw CLI::ValidationError("run", "name either a job FILE or a command after --");
    }
    const bool has_server = !run_options.server.server.empty() || !ServerVariable().empty();
    // A command runs here, whatever server there is for jobs.
    run_options.here = !has_server || (has_command && run_options.server.server.empty());
    if (!run_options.here) CheckRemoteRun(run_options);
    if (!run_options.grace.empty() && !has_command) {
      throw CLI::ValidationError("--grace", "a job file says `grace` itself");
    }
    if (!run_options.parameters.empty() && has_command) {
      throw CLI::ValidationError("--param", "only job files have parameters");
    }
    if (run_options.workers > 0 && run_options.each_line.empty()) {
      throw CLI::ValidationError("--workers", "belongs to --each-line; see --slots");
    }
    if (!run_options.each_line.empty() && !has_command) {
      throw CLI::ValidationError("--each-line", "needs a command after --, as in -- curl -sO {}");
    }
  } catch (const CLI::ParseError& error) {
    return ExitOfParser(app, error);
  }
  if (*run) return Run(run_options);
  if (*validate) return Validate(validate_options);
  if (const std::optional<int> code = remote.Run()) return *code;
  static_cast<void>(version);
  return Version(version_options);
}

}  // namespace
}  // namespace nursery::cli

int main(int argc, char** argv) {
  return nursery::app::RunProgram([&] { return nursery::cli::Main(argc, argv); });
}
