#include "server/actions/exec_prepare.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "nursery/core/status.h"

namespace nursery::actions {

using engine::AttemptRequest;
using warden::UniqueFd;

namespace {

// The job's text, as it was checked when the job came; null: the server's own.
const Account* AccountOf(const spec::Exec& exec, const ExecOptions& options) {
  const auto found = options.accounts.find(exec.options->user);
  return found == options.accounts.end() ? nullptr : &found->second;
}

absl::Status SetAccount(const spec::Exec& exec, const ExecOptions& options, Prepared* prepared) {
  if (exec.options->user.empty()) return absl::OkStatus();
  const Account* account = AccountOf(exec, options);
  if (account == nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "user '" + exec.options->user + "' is not among exec.users of the server");
  }
  prepared->spec.account = account->ids;
  return absl::OkStatus();
}

absl::Status SetDirectory(const spec::Exec& exec, const AttemptRequest& request, Scratch* scratch,
                          Prepared* prepared) {
  std::string base = request.workdir;
  if (base.empty()) {
    NURSERY_RETURN_IF_ERROR(prepared->scratch.Make(scratch, prepared->spec.account));
    base = prepared->scratch.path();
  }
  prepared->spec.cwd = base;
  if (!exec.options->cwd) return absl::OkStatus();
  absl::StatusOr<std::string> cwd = exec.options->cwd->Expand(*request.scope);
  if (!cwd.ok()) return Annotate(cwd.status(), "cwd");
  prepared->spec.cwd = (std::filesystem::path(base) / *cwd).string();
  return absl::OkStatus();
}

absl::Status SetArguments(const spec::Exec& exec, const AttemptRequest& request,
                          Prepared* prepared) {
  for (size_t i = 0; i < exec.argv.size(); ++i) {
    absl::StatusOr<std::string> argument = exec.argv[i].Expand(*request.scope);
    if (!argument.ok()) return Annotate(argument.status(), "argv[" + std::to_string(i) + "]");
    prepared->spec.argv.push_back(*std::move(argument));
  }
  return absl::OkStatus();
}

// The server's, then nursery's own, then the job's: a later one wins.
absl::Status SetEnvironment(const spec::Exec& exec, const AttemptRequest& request,
                            const ExecOptions& options, Prepared* prepared) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : options.environment) {
    const size_t equals = entry.find('=');
    if (equals != std::string::npos && equals > 0)
      variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  if (const Account* account = AccountOf(exec, options)) {
    variables["HOME"] = account->home;
    variables["USER"] = variables["LOGNAME"] = exec.options->user;
  }
  if (!prepared->scratch.path().empty()) variables["TMPDIR"] = prepared->scratch.path();
  for (const auto& [name, value] : request.environment) variables[name] = value;
  for (const spec::EnvLayer::Variable* variable : spec::Environment(exec)) {
    absl::StatusOr<std::string> value = variable->value.Expand(*request.scope);
    if (!value.ok()) return Annotate(value.status(), "env." + variable->name);
    variables[variable->name] = *std::move(value);
  }
  for (const auto& [name, value] : variables) {
    prepared->spec.env.push_back(absl::StrCat(name, "=", value));
  }
  return absl::OkStatus();
}

// As much as this process itself may have.
uint64_t LargestCore() {
  rlimit limit = {};
  getrlimit(RLIMIT_CORE, &limit);
  return limit.rlim_max;
}

void SetLimits(const spec::Exec& exec, Prepared* prepared) {
  const auto set = [prepared](warden::Limit limit, std::optional<uint64_t> value) {
    prepared->spec.limits[static_cast<size_t>(limit)] = value;
  };
  const bool wants_core = exec.options->limits != nullptr && exec.options->limits->core;
  set(warden::Limit::kCore, wants_core ? LargestCore() : 0);
  if (exec.options->limits == nullptr) return;
  const spec::ProcessLimits& from = *exec.options->limits;
  set(warden::Limit::kFiles, from.open_files);
  set(warden::Limit::kFileSize, from.file_size);
  set(warden::Limit::kAddressSpace, from.address_space);
  const auto set_tree = [prepared](warden::TreeLimit limit, std::optional<uint64_t> value) {
    prepared->spec.tree_limits[static_cast<size_t>(limit)] = value;
  };
  set_tree(warden::TreeLimit::kMemory, from.memory);
  set_tree(warden::TreeLimit::kPids, from.pids);
  set_tree(warden::TreeLimit::kCpuWeight, from.cpu_weight);
  if (from.cpu_time) set(warden::Limit::kCpuSeconds, static_cast<uint64_t>(from.cpu_time->count()));
  prepared->spec.nice = from.nice;
}

absl::StatusOr<int> OpenStdin(const spec::Exec& exec, const AttemptRequest& request,
                              const std::string& cwd) {
  if (const auto* text = std::get_if<spec::StdinText>(&exec.options->input)) {
    absl::StatusOr<std::string> expanded = text->text.Expand(*request.scope);
    return expanded.ok() ? engine::OpenText(*expanded) : absl::StatusOr<int>(expanded.status());
  }
  if (const auto* output = std::get_if<spec::StdinOutput>(&exec.options->input)) {
    return request.open_output(output->sibling);
  }
  const auto* file = std::get_if<spec::StdinFile>(&exec.options->input);
  if (file == nullptr) return -1;
  absl::StatusOr<std::string> path = file->path.Expand(*request.scope);
  if (!path.ok()) return path.status();
  const std::string full = (std::filesystem::path(cwd) / *path).string();
  const int opened = open(full.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (opened < 0) return ErrnoError(errno, "cannot read stdin from " + full);
  // Opened so that a FIFO without a writer does not block us; programs expect to be blocked.
  fcntl(opened, F_SETFL, fcntl(opened, F_GETFL) & ~O_NONBLOCK);
  return opened;
}

absl::Status MakePipe(const std::optional<warden::Account>& owner, UniqueFd* ours,
                      UniqueFd* theirs) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "cannot make a pipe");
  *ours = UniqueFd(fds[0]);
  *theirs = UniqueFd(fds[1]);
  // Ours only: the process must find its end as every program expects it.
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  // Or it could write to it, but not open /dev/stdout.
  if (owner && fchown(fds[1], owner->user, owner->group) != 0) {
    return ErrnoError(errno, "cannot give away a pipe");
  }
  return absl::OkStatus();
}

// A closed descriptor stays one: the process gets /dev/null.
absl::Status Duplicate(int fd, UniqueFd* copy) {
  *copy = UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (copy->valid() || errno == EBADF) return absl::OkStatus();
  return ErrnoError(errno, "cannot duplicate a descriptor");
}

absl::Status SetStdio(const spec::Exec& exec, const AttemptRequest& request,
                      const ExecOptions& options, Prepared* prepared) {
  absl::StatusOr<int> input = OpenStdin(exec, request, prepared->spec.cwd);
  if (!input.ok()) return Annotate(input.status(), "stdin");
  prepared->stdio.fds[0] = UniqueFd(*input);
  const bool silent = std::holds_alternative<std::monostate>(exec.options->input);
  UniqueFd* fds = prepared->stdio.fds;
  if (options.pass_stdin && silent) NURSERY_RETURN_IF_ERROR(Duplicate(STDIN_FILENO, &fds[0]));
  if (options.pass_output) {
    NURSERY_RETURN_IF_ERROR(Duplicate(STDOUT_FILENO, &fds[1]));
    return Duplicate(exec.options->merge_output ? STDOUT_FILENO : STDERR_FILENO, &fds[2]);
  }
  const std::optional<warden::Account>& owner = prepared->spec.account;
  NURSERY_RETURN_IF_ERROR(MakePipe(owner, &prepared->output, &fds[1]));
  if (!exec.options->merge_output) return MakePipe(owner, &prepared->errors, &fds[2]);
  return Duplicate(fds[1].get(), &fds[2]);
}

}  // namespace

absl::Status Prepare(const spec::Exec& exec, const AttemptRequest& request,
                     const ExecOptions& options, Scratch* scratch, Prepared* prepared) {
  NURSERY_RETURN_IF_ERROR(SetAccount(exec, options, prepared));
  NURSERY_RETURN_IF_ERROR(SetDirectory(exec, request, scratch, prepared));
  NURSERY_RETURN_IF_ERROR(SetArguments(exec, request, prepared));
  NURSERY_RETURN_IF_ERROR(SetEnvironment(exec, request, options, prepared));
  SetLimits(exec, prepared);
  prepared->spec.no_new_privs = !options.allow_new_privileges;
  return SetStdio(exec, request, options, prepared);
}

}  // namespace nursery::actions
