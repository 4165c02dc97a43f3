#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>

#include "nursery/core/status.h"
#include "server/spec/job_compiler.h"
#include "server/spec/scalar.h"

namespace nursery::spec {
namespace {

constexpr Duration kShortest{1};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Saturates, so that a value far out of range is still out of range.
Duration ToDuration(const google::protobuf::Duration& value) {
  constexpr int64_t kMaxSeconds = kMaxDuration / std::chrono::seconds(1) + 1;
  const int64_t seconds = std::clamp(value.seconds(), -kMaxSeconds, kMaxSeconds);
  return std::chrono::seconds(seconds) + Duration(value.nanos());
}

}  // namespace

bool IsName(std::string_view text) {
  const bool in_grammar = std::all_of(text.begin(), text.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || c == '.' || c == '_' || c == '-';
  });
  return in_grammar && !text.empty() && text.size() <= kMaxNameBytes && text != "." && text != "..";
}

bool IsIdentifier(std::string_view text) {
  if (text.empty() || IsDigit(text[0])) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return IsLetter(c) || IsDigit(c) || c == '_'; });
}

bool JobCompiler::CheckName(std::string_view field, const std::string& name) {
  if (IsName(name)) return true;
  Fail(field, name.empty() ? "is required"
                           : "'" + name.substr(0, 2 * kMaxNameBytes) +
                                 "' must be 1 to 64 of A-Z a-z 0-9 . _ -");
  return false;
}

bool JobCompiler::CheckRange(std::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return true;
  Fail(field, std::to_string(value) + " must be between " + std::to_string(low) + " and " +
                  std::to_string(high));
  return false;
}

Duration JobCompiler::CompileDuration(std::string_view field,
                                      const google::protobuf::Duration& value, Duration low,
                                      Duration high) {
  const Duration duration = ToDuration(value);
  if (duration >= low && duration <= high) return duration;
  Fail(field, low == kShortest && duration <= high
                  ? "must be more than 0"
                  : "must be between " + FormatDuration(low == kShortest ? Duration{} : low) +
                        " and " + FormatDuration(high));
  return std::clamp(duration, low, high);
}

TimeLimit JobCompiler::CompileTimeLimit(std::string_view field, const v1::TimeLimit& limit) {
  TimeLimit compiled;
  compiled.mark = {static_cast<uint32_t>(std::max(limit.line(), 0)),
                   static_cast<uint32_t>(std::max(limit.column(), 0))};
  if (limit.has_duration()) {
    compiled.limit = CompileDuration(field, limit.duration(), kShortest, kMaxDuration);
  } else if (!limit.none()) {
    Fail(field, "must be a duration or none");
  }
  return compiled;
}

std::optional<WallTime> JobCompiler::CompileTime(std::string_view field,
                                                 const google::protobuf::Timestamp& time) {
  // 2262: the end of nanoseconds in 64 bits.
  constexpr int64_t kMaxSeconds = 9'000'000'000;
  if (time.seconds() < 0 || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
      time.nanos() > 999'999'999) {
    Fail(field, "must be between 1970 and 2255");
    return std::nullopt;
  }
  return WallTime(std::chrono::seconds(time.seconds()) + Duration(time.nanos()));
}

class JobCompiler::FrameNames : public NameResolver {
 public:
  FrameNames(const JobCompiler& compiler, const Frame& frame)
      : compiler_(compiler), frame_(frame) {}

  std::optional<NodeIndex> MapOfItem(std::string_view name) const override {
    for (const Frame* frame = &frame_; frame != nullptr; frame = frame->outer) {
      if (!frame->item_name.empty() && frame->item_name == name) return frame->node;
    }
    return std::nullopt;
  }

  std::optional<NodeIndex> InnermostMap() const override {
    for (const Frame* frame = &frame_; frame != nullptr; frame = frame->outer) {
      if (!frame->item_name.empty()) return frame->node;
    }
    return std::nullopt;
  }

  absl::StatusOr<std::optional<NodeIndex>> Output(std::string_view name) const override {
    const std::optional<NodeIndex> need = compiler_.NeedNamed(name, frame_);
    if (!need) return need;
    const std::string problem = compiler_.NoOutput(*need);
    if (problem.empty()) return need;
    return Error(absl::StatusCode::kInvalidArgument, problem);
  }

  absl::StatusOr<std::string> Param(std::string_view view) const override {
    const std::string name(view);
    const auto& params = compiler_.spec_.params();
    const auto param = params.find(name);
    if (param == params.end()) {
      return Error(absl::StatusCode::kInvalidArgument,
                   "'" + name + "' is not declared in `params`");
    }
    const auto& arguments = compiler_.spec_.arguments();
    const auto argument = arguments.find(name);
    return argument == arguments.end() ? param->second.default_() : argument->second;
  }

  absl::StatusOr<int> Units(std::string_view view) const override {
    const std::string name(view);
    const auto found = compiler_.semaphores_.find(name);
    for (const Frame* frame = &frame_; frame != nullptr; frame = frame->outer) {
      if (found == compiler_.semaphores_.end() || frame->node == kNoNode) continue;
      for (const Acquire& acquire : compiler_.job_->node(frame->node).options->acquire) {
        if (acquire.semaphore != found->second) continue;
        const Semaphore& semaphore =
            compiler_.job_->semaphores[static_cast<size_t>(acquire.semaphore)];
        const bool unknown = semaphore.of_server && !compiler_.options_.semaphores;
        if (!semaphore.units.empty() || unknown) return acquire.semaphore;
        return Error(absl::StatusCode::kInvalidArgument,
                     "semaphore '" + name + "' has no `units` to tell apart");
      }
    }
    return Error(absl::StatusCode::kInvalidArgument,
                 "sem." + name + ": '" + name + "' must be in `acquire` here or above");
  }

 private:
  const JobCompiler& compiler_;
  const Frame& frame_;
};

Template JobCompiler::CompileTemplate(std::string_view field, const std::string& text,
                                      const Frame& frame) {
  if (text.find('\0') != text.npos) Fail(field, "must not hold a NUL byte");
  absl::StatusOr<Template> parsed = ParseTemplate(text, FrameNames(*this, frame));
  if (parsed.ok()) return *std::move(parsed);
  Fail(field, std::string(Message(parsed.status())));
  return Template();
}

uint16_t JobCompiler::CompilePool(std::string_view field, const std::string& name) {
  const auto [entry, is_new] = pools_.emplace(name, static_cast<uint16_t>(job_->pools.size()));
  if (!is_new) return entry->second;
  const std::vector<std::string>& known = options_.pools;
  if (CheckName(field, name) && !known.empty() &&
      std::find(known.begin(), known.end(), name) == known.end()) {
    Fail(field, "'" + name + "' is no pool of this server; pools: " + Listed(known));
  }
  if (job_->pools.size() == kMaxPools) {
    Fail(field, "is one pool more than the limit of " + std::to_string(kMaxPools) + " per job");
  }
  if (job_->pools.size() <= kMaxPools) job_->pools.push_back(name);
  return entry->second;
}

std::optional<NodeIndex> JobCompiler::NeedNamed(std::string_view name, const Frame& from) const {
  for (const Frame* frame = &from; frame != nullptr; frame = frame->outer) {
    if (frame->outer == nullptr || frame->outer->children == nullptr) continue;
    const auto sibling = frame->outer->children->find(name);
    if (sibling == frame->outer->children->end()) continue;
    const std::vector<NodeIndex>& needs = job_->node(frame->node).needs();
    if (std::binary_search(needs.begin(), needs.end(), sibling->second)) return sibling->second;
  }
  return std::nullopt;
}

std::string JobCompiler::NoOutput(NodeIndex node) const {
  const v1::NodeSpec& spec = *specs_[static_cast<size_t>(node)];
  const std::string name = "'" + spec.name() + "'";
  if (spec.has_group()) return name + " is a group, which has no output; name one of its children";
  if (spec.has_sleep()) return name + " is a sleep, which has no output";
  if (!spec.has_map()) return "";
  const v1::NodeSpec& item = spec.map().node();
  if (item.has_group()) return name + " is a map of groups, which have no output";
  if (item.has_map()) return name + " is a map of maps; its output: not in this version";
  return "";
}

void JobCompiler::NotInThisVersion(std::string_view field) { Fail(field, "not in this version"); }

void JobCompiler::Fail(std::string_view field, std::string message) {
  const FieldPath::Segment segment = path_.Enter(field);
  violations_.Add({path_.text(), std::move(message)});
}

}  // namespace nursery::spec
