// nursery: the command line. Parses options and hands over to one command.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

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

CLI::App* AddRun(CLI::App& app, RunOptions* options) {
  CLI::App* run = app.add_subcommand("run", "Run a job file, or a command, here and now");
  run->add_option("file", options->file, "The job file (YAML or JSON)")->type_name("FILE");
  run->add_option("--each-line", options->each_line,
                  "Run the command once for each line of FILE (- is stdin); {} stands for the line")
      ->type_name("FILE");
  run->add_option("--workers", options->workers, "How many lines at once (with --each-line)")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}));
  run->add_option("--slots", options->slots,
                  "How many actions may run at once (default: twice the cores)")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}));
  run->add_option("--timeout", options->timeout,
                  "Bound for the whole, as in 10m (overrides the file's)")
      ->type_name("DURATION");
  run->add_option("--grace", options->grace,
                  "Between SIGTERM and SIGKILL, as in 500ms (with a command; default 5s)")
      ->type_name("DURATION");
  AddParameters(run, &options->parameters);
  AddOutput(run, &options->output);
  run->footer(
      "Examples:\n"
      "  nursery run build.yaml\n"
      "  nursery run --timeout 10s -- make -j4\n"
      "  nursery run --each-line urls.txt --workers 8 -- curl -sO {}\n"
      "\n"
      "Ctrl-C cancels the job and shows what was taken down; a second one kills at once.\n"
      "Exit codes: 0 succeeded, 1 failed, 2 usage or invalid job, 3 cancelled, 4 deadline\n"
      "exceeded, 6 refused. With -- COMMAND the command's own, and 124 deadline, 125 ours,\n"
      "126 not executable, 127 not found, 128 + the signal that killed it.");
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
  try {
    CheckCommand(app, argc, argv);
    app.parse(argc, argv);
    if (has_command && !*run) throw CLI::ExtrasError({"--"});
    if (*run && has_command == !run_options.file.empty()) {
      throw CLI::ValidationError("run", "name either a job FILE or a command after --");
    }
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
  static_cast<void>(version);
  return Version(version_options);
}

}  // namespace
}  // namespace nursery::cli

int main(int argc, char** argv) {
  return nursery::app::RunProgram([&] { return nursery::cli::Main(argc, argv); });
}
