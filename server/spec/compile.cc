#include "server/spec/compile.h"

#include <algorithm>
#include <unordered_set>

#include "server/spec/job_compiler.h"
#include "server/spec/scalar.h"

namespace nursery::spec {
namespace {

template <typename M>
std::vector<std::string> KeysOf(const M& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

bool IsLabelKey(std::string_view key) {
  if (key.empty() || key.size() > kMaxNameBytes) return false;
  return std::all_of(key.begin(), key.end(), [](char c) {
    return c == '/' || IsName(std::string_view(&c, 1)) || c == '.';
  });
}

}  // namespace

CompileResult Compile(const v1::JobSpec& spec, const CompileOptions& options) {
  return JobCompiler(spec, options).Run();
}

CompileResult JobCompiler::Run() {
  const auto bytes = static_cast<int64_t>(spec_.ByteSizeLong());
  if (bytes > options_.limits.spec_bytes) {
    Fail("", "is " + std::to_string(bytes) + " bytes, over the limit of " +
                 std::to_string(options_.limits.spec_bytes));
  } else {
    CompileJob();
  }
  CompileResult result;
  if (violations_.empty()) result.job = std::move(job_);
  result.violations = violations_.violations();
  result.total_violations = violations_.total();
  result.warnings = warnings_.violations();
  return result;
}

void JobCompiler::CompileJob() {
  job_->name = spec_.name();
  job_->source_file = spec_.source_file();
  job_->workdir = spec_.workdir();
  CheckName("name", spec_.name());
  const bool absolute = spec_.workdir().starts_with('/');
  if (!spec_.workdir().empty() && spec_.workdir() != "scratch" && !absolute) {
    Fail("workdir", "'" + spec_.workdir() + "' must be scratch or an absolute path");
  }
  CompileJobTimeout();
  CheckJobFeatures();
  CompileLabels();
  AddServerSemaphores();
  CompileSemaphores();
  CheckParams();
  const int64_t count = CountNodes(spec_.root());
  if (count > options_.limits.nodes_per_job) {
    return Fail("root", "has " + std::to_string(count) + " nodes, over the limit of " +
                            std::to_string(options_.limits.nodes_per_job) +
                            "; a map makes nodes only as its items run");
  }
  // References to nodes stay valid: there will be no more than these.
  job_->nodes.reserve(static_cast<size_t>(count));
  specs_.reserve(static_cast<size_t>(count));
  Frame frame;
  frame.pool = CompilePool("", "default");
  if (spec_.has_priority() && CheckRange("priority", spec_.priority(), 0, 9)) {
    frame.priority = static_cast<uint8_t>(spec_.priority());
  }
  if (spec_.has_defaults()) {
    const FieldPath::Segment segment = path_.Enter("defaults");
    ApplyDefaults(spec_.defaults(), frame);
  }
  Node& root = job_->nodes.emplace_back();
  root.name = spec_.root().name().empty() ? spec_.name() : spec_.root().name();
  specs_.push_back(&spec_.root());
  const FieldPath::Segment segment = path_.Enter("root");
  if (!spec_.root().name().empty()) CheckName("name", spec_.root().name());
  if (spec_.root().needs_size() > 0) Fail("needs", "the root has no siblings to need");
  CompileNode(0, spec_.root(), frame);
  ComputeTeardown();
}

void JobCompiler::CompileJobTimeout() {
  if (!spec_.has_timeout()) return;
  job_->timeout = CompileTimeLimit("timeout", spec_.timeout());
  const std::optional<Duration>& most = options_.max_job_timeout;
  if (!most || job_->timeout->limit <= *most) return;
  const std::string what = job_->timeout->limited() ? FormatDuration(job_->timeout->limit) : "none";
  Fail("timeout", what + " is over the server's limit of " + FormatDuration(*most));
}

void JobCompiler::CompileLabels() {
  if (spec_.labels().size() > kMaxLabels) {
    Fail("labels", std::to_string(spec_.labels().size()) + " labels, over the limit of " +
                       std::to_string(kMaxLabels));
  }
  const FieldPath::Segment segment = path_.Enter("labels");
  for (const std::string& key : KeysOf(spec_.labels())) {
    const std::string& value = spec_.labels().at(key);
    if (!IsLabelKey(key)) Fail(key, "must be 1 to 64 of A-Z a-z 0-9 . _ - /");
    if (value.size() > kMaxLabelBytes) {
      Fail(key, "is " + std::to_string(value.size()) + " bytes, over the limit of " +
                    std::to_string(kMaxLabelBytes));
    }
    job_->labels.emplace(key, value);
  }
}

bool JobCompiler::IsOfServer(const std::string& semaphore) const {
  if (!options_.semaphores) return false;
  return std::any_of(options_.semaphores->begin(), options_.semaphores->end(),
                     [&](const Semaphore& each) { return each.name == semaphore; });
}

void JobCompiler::CollectServerNames(const v1::NodeSpec& node, std::set<std::string>* names) const {
  for (const v1::AcquireSpec& acquire : node.acquire()) {
    if (acquire.scope() == v1::SCOPE_SERVER) names->insert(acquire.semaphore());
  }
  if (node.has_map()) CollectServerNames(node.map().node(), names);
  for (const v1::NodeSpec& child : node.group().nodes()) CollectServerNames(child, names);
}

// Those that the job uses rank before its own, in the order of the configuration. Where that is not
// known their ranks mean nothing to each other; see CheckRank.
void JobCompiler::AddServerSemaphores() {
  std::set<std::string> names;
  CollectServerNames(spec_.root(), &names);
  std::vector<Semaphore> known;
  if (options_.semaphores) known = *options_.semaphores;
  if (!options_.semaphores) {
    for (const std::string& name : names) known.push_back({name, kMaxPermits, {}, true});
  }
  for (const Semaphore& each : known) {
    if (!names.contains(each.name)) continue;
    semaphores_[each.name] = static_cast<int>(job_->semaphores.size());
    job_->semaphores.push_back(each);
    job_->semaphores.back().of_server = true;
  }
}

void JobCompiler::CompileSemaphores() {
  const FieldPath::Segment list = path_.Enter("semaphores");
  if (spec_.semaphores_size() > kMaxSemaphores) {
    return Fail("", std::to_string(spec_.semaphores_size()) + " semaphores, over the limit of " +
                        std::to_string(kMaxSemaphores));
  }
  for (int i = 0; i < spec_.semaphores_size(); ++i) {
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    const v1::SemaphoreSpec& spec = spec_.semaphores(i);
    const auto number = static_cast<int>(job_->semaphores.size());
    if (IsOfServer(spec.name())) {
      Fail("name",
           "'" + spec.name() + "' is the name of a semaphore of the server; choose another");
    } else if (CheckName("name", spec.name()) && !semaphores_.emplace(spec.name(), number).second) {
      Fail("name", "'" + spec.name() + "' is declared twice");
    }
    Semaphore& semaphore = job_->semaphores.emplace_back();
    semaphore.name = spec.name();
    CompileUnits(spec, semaphore);
  }
}

void JobCompiler::CompileUnits(const v1::SemaphoreSpec& spec, Semaphore& semaphore) {
  const int units = spec.units_size();
  semaphore.size = spec.size() == 0 ? units : spec.size();
  if (semaphore.size == 0) {
    Fail("size", "is required: how many permits there are");
  } else if (CheckRange("size", semaphore.size, 1, kMaxPermits) && units > 0 &&
             units != semaphore.size) {
    Fail("units", "are " + std::to_string(units) + ", but size is " + std::to_string(spec.size()) +
                      "; leave size out or give one unit per permit");
  }
  std::unordered_set<std::string_view> seen;
  for (int i = 0; i < units; ++i) {
    const FieldPath::Segment list = path_.Enter("units");
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    if (CheckName("", spec.units(i)) && !seen.insert(spec.units(i)).second) {
      Fail("", "'" + spec.units(i) + "' is listed twice");
    }
    semaphore.units.push_back(spec.units(i));
  }
}

void JobCompiler::CheckParams() {
  for (const std::string& name : KeysOf(spec_.params())) {
    const FieldPath::Segment params = path_.Enter("params");
    const FieldPath::Segment segment = path_.Enter(name);
    const v1::ParamSpec& param = spec_.params().at(name);
    if (!IsIdentifier(name)) Fail("", "the name must be letters, digits and _, no digit first");
    if (param.required() && !param.default_().empty()) {
      Fail("default", "a required parameter has no default; leave one of the two out");
    }
    if (param.required() && !spec_.arguments().contains(name)) {
      const std::string what = param.description().empty() ? "" : " (" + param.description() + ")";
      Fail("", absl::StrCat("is required", what, "; give it, as in --param ", name, "=VALUE"));
    }
  }
  for (const std::string& name : KeysOf(spec_.arguments())) {
    if (spec_.params().contains(name)) continue;
    const FieldPath::Segment segment = path_.Enter("arguments");
    Fail(name, "is no parameter of this job; params: " + Listed(KeysOf(spec_.params())));
  }
}

void JobCompiler::CheckJobFeatures() {
  if (spec_.rate_limits_size() > 0) NotInThisVersion("rate_limits");
  if (spec_.has_on_end()) NotInThisVersion("on_end");
  if (spec_.has_concurrency()) NotInThisVersion("concurrency");
}

int64_t JobCompiler::CountNodes(const v1::NodeSpec& node) const {
  int64_t count = 1;
  if (node.has_map()) count += CountNodes(node.map().node());
  for (const v1::NodeSpec& child : node.group().nodes()) count += CountNodes(child);
  return count;
}

// How often `node` may be open at once: once for each worker of the maps around it.
std::vector<double> JobCompiler::Multiplicities() const {
  std::vector<double> times(job_->nodes.size(), 1);
  for (const Node& node : job_->nodes) {
    if (node.parent == kNoNode) continue;
    const Node& parent = job_->node(node.parent);
    double& own = times[static_cast<size_t>(node.index)];
    own = times[static_cast<size_t>(node.parent)];
    if (parent.map == nullptr) continue;
    const int64_t workers =
        parent.map->workers > 0 ? parent.map->workers : options_.default_map_workers;
    const auto* items = std::get_if<ItemSet>(&parent.map->items);
    own *= static_cast<double>(items == nullptr ? workers : std::min(workers, items->size()));
  }
  return times;
}

// grace + the longest chain of clean-ups (a bound and its grace each), from a node up to the root.
// Those of actions have their slot. Those of inner nodes share kCleanupSlots: any list schedule on
// m machines ends within chain + (all - chain) / m (Graham 1966).
void JobCompiler::ComputeTeardown() {
  const std::vector<double> times = Multiplicities();
  const auto length = [](const Node& node) {
    return std::chrono::duration<double>(node.finally->timeout +
                                         std::min(node.options->grace, kMaxFinallyGrace));
  };
  std::chrono::duration<double> shared{};
  double sharing = 0;
  for (const Node& node : job_->nodes) {
    if (node.finally == nullptr || node.kind == Kind::kAction) continue;
    sharing += times[static_cast<size_t>(node.index)];
    shared += length(node) * times[static_cast<size_t>(node.index)];
  }
  const bool queues = sharing > kCleanupSlots;
  std::vector<std::chrono::duration<double>> below(job_->nodes.size());
  Duration grace{};
  // Children come after their parent, so they are done before it.
  for (size_t i = job_->nodes.size(); i-- > 0;) {
    const Node& node = job_->nodes[i];
    grace = std::max(grace, node.options->grace);
    if (node.finally != nullptr) {
      const bool shares = queues && node.kind != Kind::kAction;
      below[i] += length(node) * (shares ? 1 - 1.0 / kCleanupSlots : 1);
    }
    if (node.parent == kNoNode) continue;
    auto& outer = below[static_cast<size_t>(node.parent)];
    outer = std::max(outer, below[i]);
  }
  const auto all = grace + below[0] + (queues ? shared / kCleanupSlots : shared * 0);
  const bool fits = all < std::chrono::duration<double>(kMaxDuration);
  job_->max_teardown = fits ? std::chrono::ceil<Duration>(all) : kMaxDuration;
}

}  // namespace nursery::spec
