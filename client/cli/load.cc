#include "client/cli/load.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "client/cli/text.h"
#include "nursery/core/status.h"
#include "nursery/v1/job.pb.h"
#include "server/app/embedded.h"
#include "server/engine/convert.h"
#include "server/spec/limits.h"
#include "server/spec/scalar.h"

namespace nursery::cli {
namespace {

void AddItems(std::string_view text, v1::ItemList* list) {
  list->set_format(v1::ITEM_FORMAT_TEXT);
  std::string& data = *list->mutable_data();
  data.reserve(text.size());
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    data.append(text.substr(0, end));
    list->add_sizes(static_cast<uint32_t>(end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// What stands for `text` in a job: a command line is no template, so what would look like one
// becomes a parameter.
std::string Literal(const std::string& text, v1::JobSpec* job) {
  if (text.find("${{") == std::string::npos) return text;
  const std::string name = "text" + std::to_string(job->params_size());
  (*job->mutable_params())[name].set_default_(text);
  return "${{ param." + name + " }}";
}

// `{}` stands for the line; without any it is the last argument, as for xargs.
void AddEachLineArguments(const std::vector<std::string>& command, v1::JobSpec* job,
                          v1::ExecAction* exec) {
  constexpr std::string_view kPlace = "{}";
  bool placed = false;
  for (const std::string& argument : command) {
    std::string text;
    size_t start = 0;
    for (size_t at; (at = argument.find(kPlace, start)) != std::string::npos; placed = true) {
      text += Literal(argument.substr(start, at - start), job) + "${{ item }}";
      start = at + kPlace.size();
    }
    exec->add_argv(text + Literal(argument.substr(start), job));
  }
  if (!placed) exec->add_argv("${{ item }}");
}

spec::LoadedJob Compiled(v1::JobSpec job, const spec::CompileOptions& compile) {
  spec::CompileResult compiled = spec::Compile(job, compile);
  spec::LoadedJob loaded;
  loaded.spec = std::make_shared<const v1::JobSpec>(std::move(job));
  loaded.job = compiled.job;
  loaded.violations = compiled.violations;
  loaded.total_violations = compiled.total_violations;
  loaded.warnings = compiled.warnings;
  return loaded;
}

std::string NameOf(const std::string& program) {
  std::string name;
  for (char c : program.substr(program.rfind('/') + 1)) {
    const bool allowed =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    name += allowed ? c : '_';
  }
  return name.empty() ? "command" : name.substr(0, spec::kMaxNameBytes);
}

}  // namespace

absl::StatusOr<std::string> ReadInput(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return ErrnoError(errno, path);
  }
  std::istream& input = path == "-" ? std::cin : file;
  std::string text;
  char buffer[1 << 16];
  while (input.read(buffer, sizeof buffer) || input.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(input.gcount()));
    if (text.size() > spec::kMaxFileBytes) {
      return Error(absl::StatusCode::kInvalidArgument, path + " is over the limit of 16 MiB");
    }
  }
  if (input.bad()) return ErrnoError(errno, path);
  return text;
}

absl::StatusOr<spec::LoadedJob> LoadFile(const std::string& file,
                                         const std::vector<std::string>& parameters,
                                         spec::CompileOptions compile) {
  spec::LoadOptions options;
  options.compile = std::move(compile);
  for (const std::string& parameter : parameters) {
    const size_t equals = parameter.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error(absl::StatusCode::kInvalidArgument,
                   "--param " + parameter + ": must be NAME=VALUE");
    }
    options.arguments[parameter.substr(0, equals)] = parameter.substr(equals + 1);
  }
  return spec::LoadJobFile(file, options);
}

absl::StatusOr<spec::LoadedJob> LoadCommand(const RunOptions& options) {
  v1::JobSpec job;
  job.set_name(NameOf(options.command.front()));
  job.mutable_timeout()->set_none(true);
  v1::NodeSpec* node = job.mutable_root();
  if (!options.each_line.empty()) {
    absl::StatusOr<std::string> lines = ReadInput(options.each_line);
    if (absl::IsInvalidArgument(lines.status())) {
      return Error(lines.status().code(), std::string(Message(lines.status())) + "; split it");
    }
    if (!lines.ok()) return lines.status();
    v1::MapSpec* map = node->mutable_map();
    AddItems(*lines, map->mutable_items()->mutable_list());
    map->set_workers(static_cast<int32_t>(options.workers));
    map->mutable_join()->set_mode(v1::JOIN_MODE_COLLECT);
    node = map->mutable_node();
    AddEachLineArguments(options.command, &job, node->mutable_exec());
  } else {
    for (const std::string& argument : options.command) {
      node->mutable_exec()->add_argv(Literal(argument, &job));
    }
  }
  node->mutable_attempt_timeout()->set_none(true);
  // Nobody said that a command may be run twice.
  node->set_max_interruptions(0);
  if (!options.grace.empty()) {
    absl::StatusOr<std::chrono::nanoseconds> grace = spec::ParseDuration(options.grace);
    if (!grace.ok()) return Annotate(grace.status(), "--grace");
    *node->mutable_grace() = engine::ToProto(*grace);
  }
  return Compiled(std::move(job), app::Embedded::CompileOptions());
}

void PrintViolations(const std::string& file, const spec::LoadedJob& loaded) {
  // Names in it are the file's own, and may hold what a terminal would obey.
  for (const std::string& line : PrintableLines(spec::Describe(file, loaded))) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

spec::LoadedJob WithTimeout(spec::LoadedJob loaded, std::optional<std::chrono::nanoseconds> timeout,
                            const spec::CompileOptions& compile) {
  if (loaded.job == nullptr) return loaded;
  v1::JobSpec job = *loaded.spec;
  job.mutable_timeout()->Clear();
  if (timeout) {
    *job.mutable_timeout()->mutable_duration() = engine::ToProto(*timeout);
  } else {
    job.mutable_timeout()->set_none(true);
  }
  return Compiled(std::move(job), compile);
}

}  // namespace nursery::cli
