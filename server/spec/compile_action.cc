#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <array>

#include "nursery/core/status.h"
#include "server/spec/job_compiler.h"
#include "server/spec/scalar.h"

namespace nursery::spec {
namespace {

bool IsShell(std::string_view program) {
  constexpr std::array<std::string_view, 6> kShells = {"sh", "bash", "dash", "zsh", "ksh", "ash"};
  const std::string_view name = program.substr(program.rfind('/') + 1);
  return std::find(kShells.begin(), kShells.end(), name) != kShells.end();
}

// -c, -ec, -euo: a cluster of short options that holds c.
bool TakesScript(std::string_view option) {
  return option.size() > 1 && option[0] == '-' && option[1] != '-' &&
         option.find('c') != option.npos;
}

bool IsQuotedForShell(const Template& text) {
  return std::all_of(text.Pieces().begin(), text.Pieces().end(), [](const Template::Piece& piece) {
    return piece.expression == nullptr ||
           piece.expression->function == Expression::Function::kShell ||
           piece.expression->source == Expression::Source::kIndex ||
           piece.expression->source == Expression::Source::kAttempt ||
           piece.expression->source == Expression::Source::kJobId;
  });
}

}  // namespace

template <typename S>
std::optional<Action> JobCompiler::CompileAction(const S& spec, const Frame& frame) {
  if (spec.has_exec()) {
    const FieldPath::Segment segment = path_.Enter("exec");
    return CompileExec(spec.exec(), frame);
  }
  if (spec.has_sleep()) {
    const FieldPath::Segment segment = path_.Enter("sleep");
    return CompileSleep(spec.sleep(), frame);
  }
  if (spec.has_call()) {
    const FieldPath::Segment segment = path_.Enter("call");
    return CompileCall(spec.call(), frame);
  }
  if (spec.has_http()) {
    NotInThisVersion("http");
  } else if (spec.has_grpc()) {
    NotInThisVersion("grpc");
  } else if constexpr (std::is_same_v<S, v1::NodeSpec>) {
    Fail("", "nothing to run: give one of exec, sleep, call, map or group (nodes)");
  } else {
    Fail("", "nothing to run: give one of exec, sleep or call");
  }
  return std::nullopt;
}

template std::optional<Action> JobCompiler::CompileAction(const v1::NodeSpec&, const Frame&);
template std::optional<Action> JobCompiler::CompileAction(const v1::FinallySpec&, const Frame&);

Exec JobCompiler::CompileExec(const v1::ExecAction& spec, const Frame& frame) {
  Exec exec;
  CompileArgv(spec, frame, exec);
  exec.env = spec.env().empty() ? frame.env : CompileEnv(spec.env(), frame);
  if (spec.env_from_size() > 0) NotInThisVersion("env_from");
  CheckUser(spec.user());
  ExecOptions options;
  options.user = spec.user();
  options.cwd = frame.cwd;
  if (!spec.cwd().empty()) options.cwd = CompileTemplate("cwd", spec.cwd(), frame);
  if (spec.has_stdin()) {
    const FieldPath::Segment segment = path_.Enter("stdin");
    options.input = CompileStdin(spec.stdin(), frame);
  }
  if (spec.has_output()) {
    const FieldPath::Segment segment = path_.Enter("output");
    CompileOutput(spec.output(), options);
  }
  if (spec.has_limits()) {
    const FieldPath::Segment segment = path_.Enter("limits");
    options.limits = CompileLimits(spec.limits());
  }
  exec.options = exec_options_.Of(std::move(options));
  return exec;
}

void JobCompiler::CompileArgv(const v1::ExecAction& spec, const Frame& frame, Exec& exec) {
  const FieldPath::Segment argv = path_.Enter("argv");
  if (spec.argv_size() == 0) return Fail("", "must not be empty");
  exec.argv.reserve(static_cast<size_t>(spec.argv_size()));
  for (int i = 0; i < spec.argv_size(); ++i) {
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    if (spec.argv(i).size() >= kMaxArgumentBytes) {
      Fail("", "is " + std::to_string(spec.argv(i).size()) +
                   " bytes; the kernel takes less than 128 KiB per argument; use stdin");
    }
    exec.argv.push_back(CompileTemplate("", spec.argv(i), frame));
  }
  if (spec.argv(0).empty()) Fail("[0]", "must name a program");
  WarnOfShell(exec);
}

// Data that becomes part of a script is run as one.
void JobCompiler::WarnOfShell(const Exec& exec) {
  if (!IsShell(exec.argv[0].Source())) return;
  for (size_t i = 1; i + 1 < exec.argv.size(); ++i) {
    if (!TakesScript(exec.argv[i].Source())) continue;
    if (!IsQuotedForShell(exec.argv[i + 1])) {
      const FieldPath::Segment segment = path_.Enter(i + 1);
      warnings_.Add({path_.text(),
                     "an expression inside a shell script runs whatever the data holds; "
                     "use \"$NURSERY_ITEM\" or ${{ shell(...) }}"});
    }
    return;
  }
}

std::shared_ptr<const EnvLayer> JobCompiler::CompileEnv(
    const google::protobuf::Map<std::string, std::string>& env, const Frame& frame) {
  const FieldPath::Segment segment = path_.Enter("env");
  auto layer = std::make_shared<EnvLayer>();
  layer->outer = frame.env;
  std::vector<std::string> names;
  for (const auto& [name, value] : env) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (!IsIdentifier(name)) {
      Fail(name, "the name must be letters, digits and _, no digit first");
    } else if (name.starts_with("NURSERY_")) {
      Fail(name, "names that start with NURSERY_ are set by the server");
    }
    if (name.size() + env.at(name).size() + 1 >= kMaxArgumentBytes) {
      Fail(name, "is " + std::to_string(env.at(name).size()) +
                     " bytes; the kernel takes less than 128 KiB per variable; use a file");
    }
    layer->variables.push_back({name, CompileTemplate(name, env.at(name), frame)});
  }
  return layer;
}

Stdin JobCompiler::CompileStdin(const v1::StdinSpec& spec, const Frame& frame) {
  switch (spec.source_case()) {
    case v1::StdinSpec::kText:
      return StdinText{CompileTemplate("text", spec.text(), frame)};
    case v1::StdinSpec::kFile:
      if (spec.file().empty()) Fail("file", "must name a file");
      return StdinFile{CompileTemplate("file", spec.file(), frame)};
    case v1::StdinSpec::kOutputOf: {
      const FieldPath::Segment segment = path_.Enter("output_of");
      return StdinOutput{CompileOutputOf(spec.output_of(), frame)};
    }
    case v1::StdinSpec::SOURCE_NOT_SET:
      break;
  }
  Fail("", "must have one of text, file, output_of");
  return {};
}

NodeIndex JobCompiler::CompileOutputOf(const std::string& name, const Frame& frame) {
  const std::optional<NodeIndex> need = NeedNamed(name, frame);
  const std::string problem =
      need ? NoOutput(*need) : "'" + name + "' must be in `needs` of this node or one around it";
  if (problem.empty()) return *need;
  Fail("", problem);
  return kNoNode;
}

void JobCompiler::CompileOutput(const v1::OutputSpec& spec, ExecOptions& options) {
  if (spec.max() != 0 && CheckRange("max", spec.max(), 1, kMaxOutputBytes)) {
    options.max_output = spec.max();
  }
  options.merge_output = spec.merge();
  options.json_output = spec.json();
  if (!spec.file().empty()) NotInThisVersion("file");
}

std::shared_ptr<const ProcessLimits> JobCompiler::CompileLimits(const v1::ResourceLimits& spec) {
  auto limits = std::make_shared<ProcessLimits>();
  constexpr int64_t kMaxBytes = 1LL << 50;
  // The kernel's own bounds.
  constexpr int64_t kMaxPids = 1 << 22;
  constexpr int64_t kMaxWeight = 10'000;
  limits->memory = CompileTreeLimit("memory", spec.memory(), kMaxBytes);
  limits->pids = CompileTreeLimit("pids", spec.pids(), kMaxPids);
  limits->cpu_weight = CompileTreeLimit("cpu_weight", spec.cpu_weight(), kMaxWeight);
  limits->open_files = CompileLimit("open_files", spec.open_files(), 1 << 20);
  limits->file_size = CompileLimit("file_size", spec.file_size(), kMaxBytes);
  limits->address_space = CompileLimit("address_space", spec.address_space(), kMaxBytes);
  if (spec.has_cpu_time()) {
    limits->cpu_time = std::chrono::ceil<std::chrono::seconds>(
        CompileDuration("cpu_time", spec.cpu_time(), Duration{1}, kMaxDuration));
  }
  limits->core = spec.core();
  if (CheckRange("nice", spec.nice(), 0, 19)) limits->nice = spec.nice();
  return limits;
}

std::optional<uint64_t> JobCompiler::CompileLimit(std::string_view field, int64_t value,
                                                  int64_t high) {
  if (value == 0 || !CheckRange(field, value, 1, high)) return std::nullopt;
  return static_cast<uint64_t>(value);
}

std::optional<uint64_t> JobCompiler::CompileTreeLimit(std::string_view field, int64_t value,
                                                      int64_t high) {
  const std::optional<uint64_t> limit = CompileLimit(field, value, high);
  if (!limit) return limit;
  job_->has_tree_limits = true;
  if (!not_enforced_) not_enforced_ = options_.not_enforced();
  const auto problem = not_enforced_->find(field);
  if (problem == not_enforced_->end()) return limit;
  const FieldPath::Segment segment = path_.Enter(field);
  warnings_.Add({path_.text(), problem->second});
  std::vector<std::string>& told = job_->limits_not_enforced;
  if (told.size() < kMaxToldLimits) told.push_back(path_.text() + ": " + problem->second);
  return limit;
}

void JobCompiler::CheckUser(const std::string& user) {
  const std::optional<std::vector<std::string>>& known = options_.users;
  if (user.empty() || !known || std::find(known->begin(), known->end(), user) != known->end()) {
    return;
  }
  Fail("user", "'" + user + "' is not among exec.users of the server's configuration" +
                   (known->empty() ? ", which has none" : ": " + Listed(*known)));
}

Sleep JobCompiler::CompileSleep(const v1::SleepAction& spec, const Frame& frame) {
  Sleep sleep;
  if (spec.duration_expression().empty()) {
    if (!spec.has_duration()) Fail("duration", "is required");
    sleep.duration = CompileDuration("duration", spec.duration(), Duration{}, kMaxDuration);
    return sleep;
  }
  if (spec.has_duration()) Fail("duration_expression", "excludes duration");
  const Template text = CompileTemplate("duration", spec.duration_expression(), frame);
  if (!text.IsLiteral()) {
    sleep.expression = text;
  } else if (absl::StatusOr<Duration> duration = ParseDuration(text.Source()); duration.ok()) {
    sleep.duration = *duration;
  } else {
    Fail("duration", std::string(Message(duration.status())));
  }
  return sleep;
}

Call JobCompiler::CompileCall(const v1::CallAction& spec, const Frame& frame) {
  const std::vector<std::string>& known = options_.functions;
  if (CheckName("function", spec.function()) && !known.empty() &&
      std::find(known.begin(), known.end(), spec.function()) == known.end()) {
    Fail("function",
         "'" + spec.function() + "' is not registered here; registered: " + Listed(known));
  }
  return {spec.function(), CompileTemplate("argument", spec.argument(), frame)};
}

}  // namespace nursery::spec
