#include "server/app/settings.h"

#include <google/protobuf/util/message_differencer.h>

#include "nursery/core/executor.h"
#include "server/engine/convert.h"

namespace nursery::app {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

// 0 is the default everywhere.
void SetIfGiven(int64_t value, int64_t* limit) {
  if (value != 0) *limit = value;
}

// Without all that a running server takes over. Of pools the slots; those that are always there are
// the same whether or not they are named.
v1::ServerConfig FixedPart(v1::ServerConfig config) {
  std::map<std::string, v1::PoolConfig> pools;
  for (const auto& [name, slots] : PoolsOf(config)) pools[name].set_name(name);
  for (v1::PoolConfig& pool : *config.mutable_pools()) {
    pool.clear_slots();
    pools[pool.name()] = pool;
  }
  config.clear_pools();
  for (const auto& [name, pool] : pools) *config.add_pools() = pool;
  config.clear_retention();
  config.clear_default_attempt_timeout();
  config.clear_max_finally_timeout();
  config.clear_max_job_timeout();
  config.mutable_auth()->clear_token_file();
  v1::LimitsConfig& limits = *config.mutable_limits();
  limits.clear_nodes_per_job();
  limits.clear_items_per_map();
  limits.clear_spec_bytes();
  limits.clear_live_jobs();
  limits.clear_total_nodes();
  limits.clear_admitted_bytes();
  limits.clear_calls();
  limits.clear_connections();
  limits.clear_connections_per_peer();
  return config;
}

// A message of single fields is looked into; what is a list counts as a whole.
void AddChanges(const Message& before, const Message& after, const std::string& prefix,
                std::vector<std::string>* changes) {
  for (int i = 0; i < before.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = before.GetDescriptor()->field(i);
    MessageDifferencer differencer;
    const bool same = differencer.CompareWithFields(before, after, {field}, {field});
    if (same) continue;
    const bool is_section = !field->is_repeated() && field->message_type() != nullptr &&
                            field->message_type()->file() == before.GetDescriptor()->file();
    if (!is_section) {
      changes->push_back(prefix + field->name());
      continue;
    }
    AddChanges(before.GetReflection()->GetMessage(before, field),
               after.GetReflection()->GetMessage(after, field), prefix + field->name() + ".",
               changes);
  }
}

}  // namespace

engine::TableLimits TableLimitsOf(const v1::ServerConfig& config) {
  engine::TableLimits limits;
  SetIfGiven(config.limits().live_jobs(), &limits.live_jobs);
  SetIfGiven(config.limits().total_nodes(), &limits.nodes);
  SetIfGiven(config.limits().admitted_bytes(), &limits.bytes);
  SetIfGiven(config.retention().ephemeral_jobs(), &limits.ended_jobs);
  SetIfGiven(config.retention().ephemeral_bytes(), &limits.ended_bytes);
  if (config.retention().has_ephemeral_age()) {
    limits.ended_age = engine::FromProto(config.retention().ephemeral_age());
  }
  return limits;
}

int CallsPerConnectionOf(const v1::ServerConfig& config) {
  int64_t calls = rpc::ServerOptions().calls_per_connection;
  SetIfGiven(config.limits().calls_per_connection(), &calls);
  return static_cast<int>(calls);
}

int64_t MaxTasksOf(const v1::ServerConfig& config) {
  int64_t tasks = kDefaultMaxTasks;
  SetIfGiven(config.limits().tasks(), &tasks);
  return tasks;
}

warden::Level LevelOf(const v1::ServerConfig& config) {
  switch (config.exec().containment()) {
    case v1::CONTAINMENT_GROUP:
      return warden::Level::kGroup;
    case v1::CONTAINMENT_SUBREAPER:
      return warden::Level::kSubreaper;
    case v1::CONTAINMENT_CGROUP:
      return warden::Level::kCgroup;
    default:
      return warden::Level::kNone;
  }
}

int64_t MaxOutputOf(const v1::ServerConfig& config) {
  int64_t bytes = actions::ExecOptions().max_output;
  SetIfGiven(config.limits().output_bytes(), &bytes);
  return bytes;
}

rpc::ServerLimits ServerLimitsOf(const v1::ServerConfig& config) {
  rpc::ServerLimits limits;
  SetIfGiven(config.limits().calls(), &limits.calls);
  SetIfGiven(config.limits().connections(), &limits.connections.total);
  SetIfGiven(config.limits().connections_per_peer(), &limits.connections.per_peer);
  return limits;
}

void SetJobLimits(const v1::ServerConfig& config, spec::CompileOptions* options) {
  const spec::CompileOptions defaults;
  options->limits.nodes_per_job = defaults.limits.nodes_per_job;
  options->limits.items_per_map = defaults.limits.items_per_map;
  options->limits.spec_bytes = defaults.limits.spec_bytes;
  SetIfGiven(config.limits().nodes_per_job(), &options->limits.nodes_per_job);
  SetIfGiven(config.limits().items_per_map(), &options->limits.items_per_map);
  SetIfGiven(config.limits().spec_bytes(), &options->limits.spec_bytes);
  options->default_attempt_timeout = config.has_default_attempt_timeout()
                                         ? engine::FromProto(config.default_attempt_timeout())
                                         : defaults.default_attempt_timeout;
  options->limits.max_finally = config.has_max_finally_timeout()
                                    ? engine::FromProto(config.max_finally_timeout())
                                    : defaults.limits.max_finally;
  options->max_job_timeout.reset();
  if (config.has_max_job_timeout()) {
    options->max_job_timeout = engine::FromProto(config.max_job_timeout());
  }
}

std::map<std::string, int64_t> PoolsOf(const v1::ServerConfig& config) {
  std::map<std::string, int64_t> pools = {
      {"default", 2 * int64_t{ThreadExecutor::AvailableCores()}}, {"io", 256}};
  for (const v1::PoolConfig& pool : config.pools()) pools[pool.name()] = pool.slots();
  return pools;
}

std::vector<std::string> FixedChanges(const v1::ServerConfig& running,
                                      const v1::ServerConfig& wanted) {
  std::vector<std::string> changes;
  AddChanges(FixedPart(running), FixedPart(wanted), "", &changes);
  return changes;
}

}  // namespace nursery::app
