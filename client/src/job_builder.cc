// Job, Items, and what every node may say.
#include "nursery/client/job_builder.h"

#include <cerrno>
#include <fstream>

#include "client/src/convert.h"
#include "client/src/messages.h"
#include "nursery/core/status.h"

namespace nursery::client {
namespace {

void SetLimit(std::optional<Duration> limit, v1::TimeLimit* message) {
  if (limit) {
    *message->mutable_duration() = ToProto(*limit);
  } else {
    message->set_none(true);
  }
}

void SetPolicy(const Retry& retry, v1::RetryPolicy* policy) {
  policy->Clear();
  policy->set_max_attempts(retry.max_attempts);
  policy->mutable_exit_codes()->Assign(retry.exit_codes.begin(), retry.exit_codes.end());
  if (retry.initial) *policy->mutable_backoff()->mutable_initial() = ToProto(*retry.initial);
  if (retry.max) *policy->mutable_backoff()->mutable_max() = ToProto(*retry.max);
  if (retry.multiplier) policy->mutable_backoff()->set_multiplier(*retry.multiplier);
  if (retry.jitter) policy->mutable_backoff()->set_jitter(*retry.jitter);
}

void AddItem(std::string_view item, v1::ItemList* list) {
  list->mutable_data()->append(item);
  // The server refuses what does not add up; an item above 4 GiB is above every limit.
  list->add_sizes(static_cast<uint32_t>(item.size()));
}

// The first problem is the one that is told.
void Inherit(const std::string& from, std::string* problem) {
  if (problem->empty()) *problem = from;
}

// Takes `action` apart; what is left of it then has no meaning in a `finally`.
bool MoveAction(v1::NodeSpec* action, v1::FinallySpec* finally) {
  if (action->has_exec()) {
    finally->mutable_exec()->Swap(action->mutable_exec());
  } else if (action->has_call()) {
    finally->mutable_call()->Swap(action->mutable_call());
  } else if (action->has_sleep()) {
    finally->mutable_sleep()->Swap(action->mutable_sleep());
  } else {
    return false;
  }
  action->clear_kind();
  if (action->timeout().has_duration()) {
    *finally->mutable_timeout() = action->timeout().duration();
    action->clear_timeout();
  }
  return action->ByteSizeLong() == 0;
}

}  // namespace

Node::Node(const std::string& name) : message_(std::make_unique<internal::NodeMessage>()) {
  message_->spec.set_name(name);
}
Node::Node(const Node& other)
    : message_(std::make_unique<internal::NodeMessage>(*other.message_)) {}
Node::Node(Node&& other) noexcept = default;
Node& Node::operator=(Node other) noexcept {
  message_.swap(other.message_);
  return *this;
}
Node::~Node() = default;

void Node::SetNeeds(const std::vector<std::string>& siblings) {
  message_->spec.mutable_needs()->Assign(siblings.begin(), siblings.end());
}
void Node::SetWhen(When when) {
  constexpr v1::When kValues[] = {v1::WHEN_SUCCESS, v1::WHEN_FAILURE, v1::WHEN_ALWAYS};
  message_->spec.set_when(kValues[static_cast<size_t>(when)]);  // the order of the enum
}
void Node::SetAllowFailure() { message_->spec.set_allow_failure(true); }
void Node::SetTimeout(std::optional<Duration> limit) {
  SetLimit(limit, message_->spec.mutable_timeout());
}
void Node::SetQueueTimeout(Duration limit) {
  *message_->spec.mutable_queue_timeout() = ToProto(limit);
}
void Node::SetAttemptTimeout(std::optional<Duration> limit) {
  SetLimit(limit, message_->spec.mutable_attempt_timeout());
}
void Node::SetIdleTimeout(Duration limit) {
  *message_->spec.mutable_idle_timeout() = ToProto(limit);
}
void Node::SetGrace(Duration grace) { *message_->spec.mutable_grace() = ToProto(grace); }
void Node::SetRetry(const Retry& retry) { SetPolicy(retry, message_->spec.mutable_retry()); }
void Node::SetMaxInterruptions(int count) { message_->spec.set_max_interruptions(count); }
void Node::AddAcquire(const std::string& semaphore, int64_t weight, bool of_server) {
  v1::AcquireSpec* acquire = message_->spec.add_acquire();
  acquire->set_semaphore(semaphore);
  acquire->set_weight(weight);
  if (of_server) acquire->set_scope(v1::SCOPE_SERVER);
}
void Node::SetPool(const std::string& pool) { message_->spec.set_pool(pool); }
void Node::SetPriority(int priority) { message_->spec.set_priority(priority); }
void Node::SetFinally(const Node& action) {
  v1::NodeSpec spec = action.message_->spec;
  v1::FinallySpec* finally = message_->spec.mutable_finally();
  finally->Clear();
  Inherit(action.message_->problem, &message_->problem);
  if (!MoveAction(&spec, finally)) {
    Inherit("the finally of '" + message_->spec.name() +
                "' must be an Exec, Call or Sleep without a name, and may say Timeout only",
            &message_->problem);
  }
}
void Node::SetNotBefore(WallTime time) { *message_->spec.mutable_not_before() = ToProto(time); }
void Node::SetDeadline(WallTime time) { *message_->spec.mutable_deadline() = ToProto(time); }

Items::Items() : message_(std::make_shared<internal::ItemsMessage>()) {}

Items Items::List(const std::vector<std::string>& texts) {
  Items items;
  v1::ItemList* list = items.message_->items.mutable_list();
  list->set_format(v1::ITEM_FORMAT_TEXT);
  for (const std::string& text : texts) AddItem(text, list);
  return items;
}

Items Items::JsonList(const std::vector<std::string>& values) {
  Items items = List(values);
  items.message_->items.mutable_list()->set_format(v1::ITEM_FORMAT_JSON);
  return items;
}

absl::StatusOr<Items> Items::FileLines(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return ErrnoError(errno, path);
  Items items = List({});
  for (std::string line; std::getline(stream, line);) {
    AddItem(line, items.message_->items.mutable_list());
  }
  if (stream.bad()) return ErrnoError(errno, path);
  return items;
}

Items Items::Range(int64_t from, int64_t to, int64_t step) {
  Items items;
  v1::RangeItems* range = items.message_->items.mutable_range();
  range->set_from(from);
  range->set_to(to);
  range->set_step(step);
  return items;
}

Items Items::Matrix(const std::vector<Axis>& axes) {
  Items items;
  v1::MatrixItems* matrix = items.message_->items.mutable_matrix();
  for (const Axis& axis : axes) {
    v1::MatrixAxis* added = matrix->add_axes();
    added->set_name(axis.name);
    added->mutable_values()->Assign(axis.values.begin(), axis.values.end());
  }
  return items;
}

Items Items::OutputOf(const std::string& sibling) {
  Items items;
  items.message_->items.set_output_of(sibling);
  return items;
}

Items& Items::Exclude(const std::map<std::string, std::string>& values) {
  message_ = std::make_shared<internal::ItemsMessage>(*message_);
  v1::MatrixExclude* exclude = message_->items.mutable_matrix()->add_exclude();
  exclude->mutable_values()->insert(values.begin(), values.end());
  return *this;
}

Job::Job(const std::string& name) : message_(std::make_unique<internal::JobMessage>()) {
  message_->spec.set_name(name);
}
Job::Job(const Job& other) : message_(std::make_unique<internal::JobMessage>(*other.message_)) {}
Job::Job(Job&& other) noexcept = default;
Job& Job::operator=(Job other) noexcept {
  message_.swap(other.message_);
  return *this;
}
Job::~Job() = default;

Job& Job::Root(const Node& root) {
  *message_->spec.mutable_root() = root.message().spec;
  message_->problem = root.message().problem;
  return *this;
}
Job& Job::Timeout(Duration limit) {
  return SetLimit(limit, message_->spec.mutable_timeout()), *this;
}
Job& Job::NoTimeout() { return SetLimit(std::nullopt, message_->spec.mutable_timeout()), *this; }
Job& Job::Workdir(const std::string& directory) {
  return message_->spec.set_workdir(directory), *this;
}
Job& Job::Defaults(const client::Defaults& defaults) {
  v1::Defaults* message = message_->spec.mutable_defaults();
  message->Clear();
  if (defaults.timeout) SetLimit(defaults.timeout, message->mutable_timeout());
  if (defaults.attempt_timeout) {
    SetLimit(defaults.attempt_timeout, message->mutable_attempt_timeout());
  }
  if (defaults.retry) SetPolicy(*defaults.retry, message->mutable_retry());
  message->mutable_env()->insert(defaults.env.begin(), defaults.env.end());
  message->set_pool(defaults.pool);
  message->set_cwd(defaults.cwd);
  if (defaults.grace) *message->mutable_grace() = ToProto(*defaults.grace);
  return *this;
}
Job& Job::Label(const std::string& name, const std::string& value) {
  (*message_->spec.mutable_labels())[name] = value;
  return *this;
}
Job& Job::Priority(int priority) { return message_->spec.set_priority(priority), *this; }
Job& Job::Semaphore(const std::string& name, int64_t size) {
  v1::SemaphoreSpec* semaphore = message_->spec.add_semaphores();
  semaphore->set_name(name);
  semaphore->set_size(size);
  return *this;
}
Job& Job::SemaphoreUnits(const std::string& name, const std::vector<std::string>& units) {
  v1::SemaphoreSpec* semaphore = message_->spec.add_semaphores();
  semaphore->set_name(name);
  semaphore->mutable_units()->Assign(units.begin(), units.end());
  return *this;
}
Job& Job::Param(const std::string& name, const std::optional<std::string>& default_value) {
  v1::ParamSpec& param = (*message_->spec.mutable_params())[name];
  param.set_required(!default_value);
  if (default_value) param.set_default_(*default_value);
  return *this;
}
Job& Job::Argument(const std::string& param, const std::string& value) {
  (*message_->spec.mutable_arguments())[param] = value;
  return *this;
}

absl::StatusOr<v1::JobSpec> internal::SpecOf(const Job& job) {
  if (!job.message().problem.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, job.message().problem);
  }
  return job.message().spec;
}

}  // namespace nursery::client
