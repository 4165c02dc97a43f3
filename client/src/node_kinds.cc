// What a node can be: Group, Map, Exec, Call, Sleep.
#include "client/src/convert.h"
#include "client/src/messages.h"
#include "nursery/client/job_builder.h"

namespace nursery::client {
namespace {

v1::Join ToProto(const Join& join) {
  v1::Join message;
  switch (join.kind) {
    case Join::Kind::kAll:
      message.set_mode(v1::JOIN_MODE_ALL);
      break;
    case Join::Kind::kCollect:
      message.set_mode(v1::JOIN_MODE_COLLECT);
      break;
    case Join::Kind::kAny:
      message.set_mode(v1::JOIN_MODE_ANY);
      break;
    case Join::Kind::kQuorum:
      message.set_quorum(join.count);
      break;
    case Join::Kind::kMaxFailures:
      message.set_max_failures(join.count);
      break;
  }
  return message;
}

// The first problem is the one that is told.
void Adopt(internal::NodeMessage* parent, const Node& child, v1::NodeSpec* place) {
  *place = child.message().spec;
  if (parent->problem.empty()) parent->problem = child.message().problem;
}

}  // namespace

Group::Group(const std::string& name) : NodeFields(name) { message_->spec.mutable_group(); }
Group& Group::Add(const Node& child) {
  Adopt(message_.get(), child, message_->spec.mutable_group()->add_nodes());
  return *this;
}
Group& Group::Limit(int children_at_once) {
  return message_->spec.mutable_group()->set_limit(children_at_once), *this;
}
Group& Group::Join(const nursery::Join& join) {
  *message_->spec.mutable_group()->mutable_join() = ToProto(join);
  return *this;
}
Group& Group::MaxFailuresPercent(double percent) {
  message_->spec.mutable_group()->mutable_join()->set_max_failures_percent(percent);
  return *this;
}

Map::Map(const std::string& name, const Items& items, const Node& node) : NodeFields(name) {
  v1::MapSpec* map = message_->spec.mutable_map();
  *map->mutable_items() = items.message().items;
  Adopt(message_.get(), node, map->mutable_node());
}
Map& Map::Workers(int items_at_once) {
  return message_->spec.mutable_map()->set_workers(items_at_once), *this;
}
Map& Map::Key(const std::string& key) { return message_->spec.mutable_map()->set_key(key), *this; }
Map& Map::As(const std::string& name) { return message_->spec.mutable_map()->set_as(name), *this; }
Map& Map::Join(const nursery::Join& join) {
  *message_->spec.mutable_map()->mutable_join() = ToProto(join);
  return *this;
}
Map& Map::MaxFailuresPercent(double percent) {
  message_->spec.mutable_map()->mutable_join()->set_max_failures_percent(percent);
  return *this;
}

Exec::Exec(const std::string& name, const std::vector<std::string>& argv) : ActionFields(name) {
  message_->spec.mutable_exec()->mutable_argv()->Assign(argv.begin(), argv.end());
}
Exec& Exec::Env(const std::string& name, const std::string& value) {
  (*message_->spec.mutable_exec()->mutable_env())[name] = value;
  return *this;
}
Exec& Exec::Cwd(const std::string& directory) {
  return message_->spec.mutable_exec()->set_cwd(directory), *this;
}
Exec& Exec::StdinText(const std::string& text) {
  return message_->spec.mutable_exec()->mutable_stdin()->set_text(text), *this;
}
Exec& Exec::StdinFile(const std::string& path) {
  return message_->spec.mutable_exec()->mutable_stdin()->set_file(path), *this;
}
Exec& Exec::StdinOutputOf(const std::string& sibling) {
  return message_->spec.mutable_exec()->mutable_stdin()->set_output_of(sibling), *this;
}
Exec& Exec::MaxOutput(int64_t bytes) {
  return message_->spec.mutable_exec()->mutable_output()->set_max(bytes), *this;
}
Exec& Exec::MergeOutput() {
  return message_->spec.mutable_exec()->mutable_output()->set_merge(true), *this;
}
Exec& Exec::JsonOutput() {
  return message_->spec.mutable_exec()->mutable_output()->set_json(true), *this;
}
Exec& Exec::Limits(const ExecLimits& limits) {
  v1::ResourceLimits* message = message_->spec.mutable_exec()->mutable_limits();
  message->set_memory(limits.memory);
  message->set_pids(limits.pids);
  message->set_cpu_weight(limits.cpu_weight);
  message->set_open_files(limits.open_files);
  message->set_file_size(limits.file_size);
  message->set_address_space(limits.address_space);
  message->clear_cpu_time();
  if (limits.cpu_time.count() != 0) {
    *message->mutable_cpu_time() = client::ToProto(limits.cpu_time);
  }
  message->set_core(limits.core);
  message->set_nice(limits.nice);
  return *this;
}

Exec& Exec::User(const std::string& account) {
  return message_->spec.mutable_exec()->set_user(account), *this;
}

Call::Call(const std::string& name, const std::string& function, const std::string& argument)
    : ActionFields(name) {
  message_->spec.mutable_call()->set_function(function);
  message_->spec.mutable_call()->set_argument(argument);
}

Sleep::Sleep(const std::string& name, Duration duration) : ActionFields(name) {
  *message_->spec.mutable_sleep()->mutable_duration() = client::ToProto(duration);
}

}  // namespace nursery::client
