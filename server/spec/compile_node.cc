#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>

#include "server/spec/job_compiler.h"

namespace nursery::spec {
namespace {

constexpr Duration kShortest{1};

Kind KindOf(const v1::NodeSpec& spec) {
  if (spec.has_group()) return Kind::kGroup;
  return spec.has_map() ? Kind::kMap : Kind::kAction;
}

When WhenOf(v1::When when) {
  if (when == v1::WHEN_FAILURE) return When::kFailure;
  return when == v1::WHEN_ALWAYS ? When::kAlways : When::kSuccess;
}

}  // namespace

void JobCompiler::CompileNode(NodeIndex index, const v1::NodeSpec& spec, const Frame& outer) {
  Frame frame = outer;
  frame.outer = &outer;
  frame.node = index;
  frame.depth = outer.depth + 1;
  frame.children = nullptr;
  frame.item_name.clear();
  if (frame.depth > kMaxDepth) {
    return Fail("", "is deeper than the limit of " + std::to_string(kMaxDepth) + " levels");
  }
  Node& node = job_->nodes[static_cast<size_t>(index)];
  node.index = index;
  node.kind = KindOf(spec);
  node.when = WhenOf(spec.when());
  node.allow_failure = spec.allow_failure();
  if (node.when != When::kSuccess && spec.needs_size() == 0) {
    Fail("when", "says how `needs` must have ended, but there are none");
  }
  CompileQueueing(spec, frame, node);
  NodeOptions options;
  CompileTimes(spec, frame, node.kind, options);
  CompileAcquire(spec, frame, options);
  CompileActionOnly(spec, frame, node.kind, options);
  // Before what may name the units that it has acquired.
  node.options = node_options_.Of(std::move(options));
  if (node.kind == Kind::kGroup && spec.group().has_defaults()) {
    const FieldPath::Segment group = path_.Enter("group");
    const FieldPath::Segment segment = path_.Enter("defaults");
    ApplyDefaults(spec.group().defaults(), frame);
  }
  CompileKind(spec, frame, node);
  if (spec.has_finally()) CompileFinally(spec, frame, node);
  if (spec.has_service()) NotInThisVersion("service");
}

void JobCompiler::CompileQueueing(const v1::NodeSpec& spec, Frame& frame, Node& node) {
  if (!spec.pool().empty()) frame.pool = CompilePool("pool", spec.pool());
  if (spec.has_priority() && CheckRange("priority", spec.priority(), 0, 9)) {
    frame.priority = static_cast<uint8_t>(spec.priority());
  }
  node.pool = frame.pool;
  node.priority = frame.priority;
}

void JobCompiler::CompileTimes(const v1::NodeSpec& spec, Frame& frame, Kind kind,
                               NodeOptions& options) {
  if (spec.has_timeout()) {
    options.timeout = CompileTimeLimit("timeout", spec.timeout());
  } else if (kind == Kind::kAction && frame.timeout.has_value()) {
    options.timeout = *frame.timeout;
  }
  if (spec.has_queue_timeout()) {
    options.queue_timeout =
        CompileDuration("queue_timeout", spec.queue_timeout(), kShortest, kMaxDuration);
  }
  if (spec.has_grace()) {
    frame.grace = CompileDuration("grace", spec.grace(), Duration{}, kMaxDuration);
  }
  options.grace = frame.grace;
  if (spec.has_not_before()) options.not_before = CompileTime("not_before", spec.not_before());
  if (spec.has_deadline()) options.deadline = CompileTime("deadline", spec.deadline());
  if (options.not_before.has_value() && options.deadline.has_value() &&
      *options.deadline <= *options.not_before) {
    Fail("deadline", "must be after not_before");
  }
}

void JobCompiler::CompileActionOnly(const v1::NodeSpec& spec, const Frame& frame, Kind kind,
                                    NodeOptions& options) {
  const bool is_action = kind == Kind::kAction;
  const std::string where = kind == Kind::kMap ? "the map's node" : "its nodes";
  if (spec.has_retry()) {
    const FieldPath::Segment segment = path_.Enter("retry");
    if (!is_action) Fail("", "only actions are retried; move it to " + where);
    options.retry = CompileRetry(spec.retry());
  } else if (is_action) {
    options.retry = frame.retry;
  }
  if (spec.has_attempt_timeout()) {
    if (!is_action) Fail("attempt_timeout", "only actions have attempts; move it to " + where);
    options.attempt_timeout = CompileTimeLimit("attempt_timeout", spec.attempt_timeout());
  } else if (is_action && frame.attempt_timeout.has_value()) {
    options.attempt_timeout = *frame.attempt_timeout;
  } else if (is_action && !spec.has_sleep()) {
    options.attempt_timeout.limit = options_.default_attempt_timeout;
  }
  if (spec.has_idle_timeout()) {
    if (!spec.has_exec()) Fail("idle_timeout", "only exec writes output to wait for");
    options.idle_timeout =
        CompileDuration("idle_timeout", spec.idle_timeout(), kShortest, kMaxDuration);
  }
  if (spec.has_max_interruptions()) {
    if (!is_action) Fail("max_interruptions", "only actions have attempts; move it to " + where);
    CheckRange("max_interruptions", spec.max_interruptions(), 0, kMaxAttempts);
    options.max_interruptions = spec.max_interruptions();
  }
}

void JobCompiler::CompileAcquire(const v1::NodeSpec& spec, Frame& frame, NodeOptions& options) {
  const FieldPath::Segment list = path_.Enter("acquire");
  if (spec.acquire_size() > kMaxSemaphores) {
    return Fail("", "names more than the limit of " + std::to_string(kMaxSemaphores));
  }
  for (int i = 0; i < spec.acquire_size(); ++i) {
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    std::optional<Acquire> acquire = CompileOneAcquire(spec.acquire(i), frame);
    if (!acquire.has_value()) continue;
    const bool twice =
        std::any_of(options.acquire.begin(), options.acquire.end(),
                    [&](const Acquire& other) { return other.semaphore == acquire->semaphore; });
    if (twice) {
      Fail("semaphore",
           "'" + spec.acquire(i).semaphore() + "' is listed twice; add the weights up");
    }
    CheckRank(*acquire, frame);
    options.acquire.push_back(*std::move(acquire));
  }
  std::sort(options.acquire.begin(), options.acquire.end(),
            [](const Acquire& a, const Acquire& b) { return a.semaphore < b.semaphore; });
  if (options.acquire.empty() || options.acquire.back().semaphore <= frame.top_rank) return;
  frame.top_rank = options.acquire.back().semaphore;
  frame.top_holder = frame.node;
}

std::optional<int> JobCompiler::FindSemaphore(const v1::AcquireSpec& spec) {
  const std::string& name = spec.semaphore();
  const auto found = semaphores_.find(name);
  const bool wants_server = spec.scope() == v1::SCOPE_SERVER;
  const bool is_there =
      found != semaphores_.end() &&
      job_->semaphores[static_cast<size_t>(found->second)].of_server == wants_server;
  if (spec.has_rate()) {
    NotInThisVersion("rate");
  } else if (name.empty()) {
    Fail("semaphore", "is required");
  } else if (is_there) {
    return found->second;
  } else if (wants_server) {
    Fail("semaphore", "the server has no semaphore '" + name + "'");
  } else if (IsOfServer(name)) {
    Fail("semaphore", "'" + name + "' is a semaphore of the server; say `scope: server`");
  } else {
    Fail("semaphore", "'" + name + "' is not declared; declare it in `semaphores` of the job");
  }
  return std::nullopt;
}

void JobCompiler::CompileWeight(const v1::AcquireSpec& spec, const Frame& frame, Acquire& acquire) {
  acquire.weight = spec.weight() == 0 ? 1 : spec.weight();
  if (!spec.weight_expression().empty()) {
    if (spec.weight() != 0) Fail("weight_expression", "excludes weight");
    const Template weight = CompileTemplate("weight", spec.weight_expression(), frame);
    if (!weight.IsLiteral()) {
      acquire.expression = weight;
      return;
    }
    const absl::StatusOr<int64_t> number = Value::String(weight.Source()).ToInt64();
    if (number.ok()) acquire.weight = *number;
    if (!number.ok()) Fail("weight", "'" + weight.Source() + "' is not a whole number");
  }
  const int64_t size = job_->semaphores[static_cast<size_t>(acquire.semaphore)].size;
  if (acquire.weight < 1 || acquire.weight > size) {
    Fail("weight", std::to_string(acquire.weight) + " must be between 1 and the size of '" +
                       spec.semaphore() + "', " + std::to_string(size));
  }
}

std::optional<Acquire> JobCompiler::CompileOneAcquire(const v1::AcquireSpec& spec,
                                                      const Frame& frame) {
  const std::optional<int> semaphore = FindSemaphore(spec);
  if (!semaphore) return std::nullopt;
  Acquire acquire;
  acquire.semaphore = *semaphore;
  CompileWeight(spec, frame, acquire);
  return acquire;
}

// Below a node that holds a semaphore only later ones may be acquired: nobody can wait in a circle.
void JobCompiler::CheckRank(const Acquire& acquire, const Frame& frame) {
  if (acquire.semaphore > frame.top_rank) return;
  const Semaphore& wanted = job_->semaphores[static_cast<size_t>(acquire.semaphore)];
  const Semaphore& top = job_->semaphores[static_cast<size_t>(frame.top_rank)];
  const bool ranked = options_.semaphores || !wanted.of_server || !top.of_server;
  // Their order is the server's, which will check it.
  if (!ranked && acquire.semaphore != frame.top_rank) return;
  const std::string& name = wanted.name;
  const std::string& held = top.name;
  const std::string holder = job_->PathOf(frame.top_holder);
  const std::string who = holder.empty() ? "the root" : "'" + holder + "'";
  if (acquire.semaphore == frame.top_rank) {
    return Fail("semaphore", "'" + name + "' is held by " + who +
                                 " above it: it would wait for itself; acquire it in one place");
  }
  Fail("semaphore", "'" + name + "' is declared before '" + held + "', which " + who +
                        " above it holds; declare '" + name + "' after '" + held +
                        "' or acquire both in one place");
}

void JobCompiler::CompileFinally(const v1::NodeSpec& spec, const Frame& frame, Node& node) {
  const FieldPath::Segment segment = path_.Enter("finally");
  auto finally = std::make_unique<Finally>();
  if (auto action = CompileAction(spec.finally(), frame)) finally->action = *action;
  finally->timeout = std::min<Duration>(finally->timeout, options_.limits.max_finally);
  if (spec.finally().has_timeout()) {
    finally->timeout = CompileDuration("timeout", spec.finally().timeout(), kShortest,
                                       options_.limits.max_finally);
  }
  node.finally = std::move(finally);
}

void JobCompiler::CompileKind(const v1::NodeSpec& spec, Frame& frame, Node& node) {
  if (spec.has_group()) {
    const FieldPath::Segment segment = path_.Enter("group");
    CompileGroup(spec.group(), frame, node);
  } else if (spec.has_map()) {
    const FieldPath::Segment segment = path_.Enter("map");
    CompileMap(spec.map(), frame, node);
  } else if (spec.has_pipeline()) {
    NotInThisVersion("pipeline");
  } else {
    std::optional<Action> action = CompileAction(spec, frame);
    if (action) node.action = actions_.Of(*std::move(action));
  }
}

void JobCompiler::ApplyDefaults(const v1::Defaults& defaults, Frame& frame) {
  if (defaults.has_timeout()) frame.timeout = CompileTimeLimit("timeout", defaults.timeout());
  if (defaults.has_attempt_timeout()) {
    frame.attempt_timeout = CompileTimeLimit("attempt_timeout", defaults.attempt_timeout());
  }
  if (defaults.has_retry()) {
    const FieldPath::Segment segment = path_.Enter("retry");
    frame.retry = CompileRetry(defaults.retry());
  }
  if (!defaults.env().empty()) frame.env = CompileEnv(defaults.env(), frame);
  if (!defaults.pool().empty()) frame.pool = CompilePool("pool", defaults.pool());
  if (!defaults.cwd().empty()) frame.cwd = CompileTemplate("cwd", defaults.cwd(), frame);
  if (defaults.has_grace()) {
    frame.grace = CompileDuration("grace", defaults.grace(), Duration{}, kMaxDuration);
  }
}

std::shared_ptr<const RetryPolicy> JobCompiler::CompileRetry(const v1::RetryPolicy& spec) {
  auto policy = std::make_shared<RetryPolicy>();
  if (spec.max_attempts() != 0) {
    CheckRange("max_attempts", spec.max_attempts(), 1, kMaxAttempts);
    policy->max_attempts = spec.max_attempts();
  }
  CompileBackoff(spec.backoff(), *policy);
  for (int i = 0; i < spec.exit_codes_size(); ++i) {
    const FieldPath::Segment list = path_.Enter("exit_codes");
    const FieldPath::Segment item = path_.Enter(static_cast<size_t>(i));
    CheckRange("", spec.exit_codes(i), 1, 255);
    policy->exit_codes.push_back(spec.exit_codes(i));
  }
  std::sort(policy->exit_codes.begin(), policy->exit_codes.end());
  if (spec.statuses_size() > 0) NotInThisVersion("statuses");
  return policy;
}

void JobCompiler::CompileBackoff(const v1::Backoff& spec, RetryPolicy& policy) {
  const FieldPath::Segment segment = path_.Enter("backoff");
  if (spec.has_initial()) {
    policy.initial = CompileDuration("initial", spec.initial(), Duration{}, kMaxDuration);
  }
  if (spec.has_max()) {
    policy.max = CompileDuration("max", spec.max(), policy.initial, kMaxDuration);
  }
  policy.max = std::max(policy.max, policy.initial);
  if (spec.has_multiplier()) {
    policy.multiplier = spec.multiplier();
    if (!(policy.multiplier >= 1 && policy.multiplier <= 100)) {
      Fail("multiplier", "must be between 1 and 100");
    }
  }
  if (spec.has_jitter()) {
    policy.jitter = spec.jitter();
    if (!(policy.jitter >= 0 && policy.jitter <= 1)) Fail("jitter", "must be between 0 and 1");
  }
}

}  // namespace nursery::spec
