#include "server/app/config.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <set>
#include <tuple>

#include "nursery/core/status.h"
#include "server/app/accounts.h"
#include "server/app/auth_files.h"
#include "server/engine/convert.h"
#include "server/spec/job_compiler.h"
#include "server/spec/limits.h"
#include "server/spec/load.h"
#include "server/spec/scalar.h"

namespace nursery::app {
namespace {

constexpr int64_t kMaxCallsPerConnection = 1'000'000;
// The server itself takes some twenty, and more where it listens in many places.
constexpr int64_t kMinTasks = 100;

// What is in the contract and not yet in the program is refused by name.
void CheckSupported(const v1::ServerConfig& config, std::vector<spec::Violation>* problems) {
  const auto refuse = [&](bool is_set, const char* field) {
    if (is_set) problems->push_back({field, "not in this version", 0, 0});
  };
  refuse(config.has_http(), "http");
  refuse(config.file_roots_size() > 0, "file_roots");
  refuse(!config.exec().secret_files().empty(), "exec.secret_files");
  refuse(config.retention().has_age(), "retention.age");
  refuse(config.retention().jobs() != 0, "retention.jobs");
  refuse(config.retention().bytes() != 0, "retention.bytes");
}

void CheckPools(const v1::ServerConfig& config, std::vector<spec::Violation>* problems) {
  std::set<std::string> names;
  for (int i = 0; i < config.pools_size(); ++i) {
    const v1::PoolConfig& pool = config.pools(i);
    const std::string path = "pools[" + std::to_string(i) + "]";
    const auto add = [&](const char* field, const std::string& what) {
      problems->push_back({path + field, what, 0, 0});
    };
    if (pool.name().empty()) add(".name", "is required");
    if (!names.insert(pool.name()).second) add(".name", "'" + pool.name() + "' is there twice");
    if (pool.slots() < 1 || pool.slots() > 100'000) add(".slots", "must be between 1 and 100000");
    if (pool.cleanup_slots() != 0) add(".cleanup_slots", "not in this version");
    if (pool.queue_limit() != 0) add(".queue_limit", "not in this version");
    if (pool.reject_if_wait_exceeds_deadline()) {
      add(".reject_if_wait_exceeds_deadline", "not in this version");
    }
  }
}

void CheckSemaphores(const v1::ServerConfig& config, std::vector<spec::Violation>* problems) {
  std::set<std::string> names;
  for (int i = 0; i < config.semaphores_size(); ++i) {
    const v1::SemaphoreConfig& semaphore = config.semaphores(i);
    const std::string path = "semaphores[" + std::to_string(i) + "]";
    const auto add = [&](const char* field, const std::string& what) {
      problems->push_back({path + field, what, 0, 0});
    };
    if (!spec::IsName(semaphore.name())) {
      add(".name", "'" + semaphore.name() + "' must be 1 to 64 of A-Z a-z 0-9 . _ -");
    } else if (!names.insert(semaphore.name()).second) {
      add(".name", "'" + semaphore.name() + "' is there twice");
    }
    const int units = semaphore.units_size();
    const int64_t size = semaphore.size() == 0 ? units : semaphore.size();
    if (size < 1 || size > spec::kMaxPermits) {
      add(".size", "must be between 1 and " + std::to_string(spec::kMaxPermits));
    } else if (units > 0 && units != size) {
      add(".units", "are " + std::to_string(units) + ", but size is " + std::to_string(size));
    }
    const std::set<std::string> distinct(semaphore.units().begin(), semaphore.units().end());
    if (distinct.size() != static_cast<size_t>(units)) add(".units", "one is there twice");
    if (!std::all_of(distinct.begin(), distinct.end(), spec::IsName)) {
      add(".units", "must each be 1 to 64 of A-Z a-z 0-9 . _ -");
    }
  }
  if (config.semaphores_size() > spec::kMaxSemaphores) {
    problems->push_back(
        {"semaphores", "are more than the limit of " + std::to_string(spec::kMaxSemaphores), 0, 0});
  }
}

void CheckTimes(const v1::ServerConfig& config, std::vector<spec::Violation>* problems) {
  const std::tuple<const char*, bool, const google::protobuf::Duration*> times[] = {
      {"default_job_timeout", config.has_default_job_timeout(), &config.default_job_timeout()},
      {"max_job_timeout", config.has_max_job_timeout(), &config.max_job_timeout()},
      {"default_attempt_timeout", config.has_default_attempt_timeout(),
       &config.default_attempt_timeout()},
      {"max_finally_timeout", config.has_max_finally_timeout(), &config.max_finally_timeout()},
      {"min_admission_slack", config.has_min_admission_slack(), &config.min_admission_slack()}};
  for (const auto& [field, is_set, value] : times) {
    const Duration time = engine::FromProto(*value);
    if (!is_set || (time > Duration::zero() && time <= spec::kMaxDuration)) continue;
    problems->push_back(
        {field, "must be between 1ns and " + spec::FormatDuration(spec::kMaxDuration), 0, 0});
  }
  if (config.has_default_job_timeout() && config.has_max_job_timeout() &&
      engine::FromProto(config.default_job_timeout()) >
          engine::FromProto(config.max_job_timeout())) {
    problems->push_back({"default_job_timeout", "is over max_job_timeout", 0, 0});
  }
}

// Of the numbers of a section, which are limits all of them.
void CheckNumbers(const google::protobuf::Message& section, const std::string& prefix,
                  std::vector<spec::Violation>* problems) {
  using google::protobuf::FieldDescriptor;
  for (int i = 0; i < section.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = section.GetDescriptor()->field(i);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_INT64) continue;
    const int64_t number = section.GetReflection()->GetInt64(section, field);
    if (number >= 0) continue;
    problems->push_back({prefix + field->name(),
                         std::to_string(number) + " must not be negative; 0 is the default", 0, 0});
  }
}

}  // namespace

absl::StatusOr<v1::ServerConfig> ReadConfig(const std::string& file, std::string* not_here) {
  v1::ServerConfig config;
  if (file.empty()) return config;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return ErrnoError(errno, file);
  const std::string text((std::istreambuf_iterator<char>(stream)),
                         std::istreambuf_iterator<char>());
  std::vector<spec::Violation> problems = spec::LoadConfigText(text, config);
  if (problems.empty()) {
    CheckSupported(config, &problems);
    CheckPools(config, &problems);
    CheckSemaphores(config, &problems);
    CheckTimes(config, &problems);
    CheckNumbers(config.limits(), "limits.", &problems);
    if (config.limits().calls_per_connection() > kMaxCallsPerConnection) {
      problems.push_back({"limits.calls_per_connection",
                          "must be at most " + std::to_string(kMaxCallsPerConnection), 0, 0});
    }
    if (const int64_t tasks = config.limits().tasks(); tasks > 0 && tasks < kMinTasks) {
      problems.push_back({"limits.tasks", "must be at least " + std::to_string(kMinTasks), 0, 0});
    }
    CheckNumbers(config.retention(), "retention.", &problems);
    CheckAuth(config.auth(), &problems);
    CheckAccounts(config, &problems);
    const std::string why_not = WhyNotAsOthers(config);
    if (not_here != nullptr) {
      *not_here = why_not;
    } else if (!why_not.empty()) {
      problems.push_back({"exec.users", why_not, 0, 0});
    }
    if (!problems.empty()) problems = spec::LocateInConfig(text, std::move(problems));
  }
  if (problems.empty()) return config;
  std::string lines;
  for (const spec::Violation& problem : problems) {
    lines += (lines.empty() ? "" : "\n") + spec::Format(problem, file);
  }
  return Error(absl::StatusCode::kInvalidArgument, lines);
}

}  // namespace nursery::app
