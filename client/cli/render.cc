#include "client/cli/render.h"

#include <algorithm>

#include "client/cli/text.h"
#include "nursery/core/clock.h"
#include "server/engine/convert.h"

namespace nursery::cli {
namespace {

constexpr int kErrorsInFull = 3;
constexpr size_t kStateColumns = 9;
constexpr size_t kTimeColumns = 5;
// A longer line of output is no summary.
constexpr size_t kSummaryBytes = 200;
// A shorter part of a deadline explains nothing.
constexpr Duration kNoticeable = std::chrono::milliseconds(10);

std::string Time(const google::protobuf::Duration& duration) {
  return FormatDuration(engine::FromProto(duration));
}

Duration Between(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  return engine::FromProto(to) - engine::FromProto(from);
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// The node as errors name it: the root by the job's name.
std::string NameOf(const v1::Job& job, const std::string& path) {
  return Printable(path.empty() ? job.display_name() : path);
}

bool DidItsWork(v1::NodeState state) {
  return state == v1::NODE_STATE_SUCCEEDED || state == v1::NODE_STATE_FAILED ||
         state == v1::NODE_STATE_DEADLINE_EXCEEDED;
}

// "14 items", or "11 of 14 items, 2 failed".
std::string ItemsNote(const v1::StateCounts& items) {
  const int64_t failed = items.failed() + items.deadline_exceeded();
  const int64_t done = items.succeeded() + failed;
  const int64_t total = done + items.cancelled() + items.skipped();
  std::string note = Counted(total, "item");
  if (done < total) note = Grouped(done) + " of " + note;
  return failed == 0 ? note : note + ", " + Grouped(failed) + " failed";
}

// What stopped a node: its own error, whoever cancelled it, or what happened around it.
std::string WhyNot(const v1::Cause& cause) {
  switch (cause.kind()) {
    case v1::CAUSE_KIND_SIBLING_FAILED:
      return cause.origin_path().empty() ? "sibling failed"
                                         : "sibling failed: " + Printable(cause.origin_path());
    case v1::CAUSE_KIND_GROUP_DECIDED:
      return "group decided";
    default:
      return Printable(cause.reason());
  }
}

// "  of 10m 0s: queued 41s, waited 2m 12s for semaphore db, ran 7m 7s".
std::string WhereTimeWent(const v1::Job& job) {
  const v1::TimeSpent& spent = job.time_spent();
  std::vector<std::string> parts;
  const auto add = [&](const char* what, const google::protobuf::Duration& time) {
    if (engine::FromProto(time) < kNoticeable) return false;
    parts.push_back(what + Time(time));
    return true;
  };
  add("queued ", spent.queued());
  if (add("waited ", spent.waited()) && spent.waited_for_size() > 0) {
    parts.back() += spent.waited_for_size() == 1 ? " for semaphore " : " for semaphores ";
    parts.back() += Joined({spent.waited_for().begin(), spent.waited_for().end()});
  }
  add("ran ", spent.ran());
  add("backed off ", spent.backed_off());
  if (parts.empty() || !job.has_deadline()) return "";
  return "  of " + FormatDuration(Between(job.create_time(), job.deadline())) + ": " +
         Joined(parts) + "\n";
}

std::string StillRunning(const v1::Job& job, const v1::NodeError& error) {
  std::vector<std::string> running;
  for (const v1::RunningAction& each : error.still_running()) {
    const std::string pid = each.pid() == 0 ? "" : " (pid " + std::to_string(each.pid()) + ")";
    running.push_back(NameOf(job, each.path()) + pid);
  }
  return running.empty() ? "" : "  still running when it passed: " + Joined(running) + "\n";
}

std::string RenderError(const v1::Job& job, const v1::NodeError& error) {
  std::string text =
      "error: " + NameOf(job, error.path()) + ": " + Printable(error.status().message()) + "\n";
  for (const std::string& line : PrintableLines(error.stderr_tail()))
    text += "    | " + line + "\n";
  if (error.state() != v1::NODE_STATE_DEADLINE_EXCEEDED) return text;
  // Of the job's own time; an attempt has less.
  const bool of_job = error.status().message().find(job.deadline_source()) != std::string::npos;
  if (error.path().empty() && of_job) text += WhereTimeWent(job);
  return text + StillRunning(job, error);
}

// "1 process is", "2 processes are".
std::string ProcessesAre(int64_t count) {
  return Grouped(count) + (count == 1 ? " process is" : " processes are");
}

// A line for each, of `count` in all.
std::string SurvivorLines(const google::protobuf::RepeatedPtrField<v1::Survivor>& survivors,
                          int64_t count) {
  std::string text;
  for (const v1::Survivor& survivor : survivors) {
    text += "  pid " + std::to_string(survivor.pid()) + "  " + Printable(survivor.command()) +
            "   node " + Printable(survivor.path()) + "   state " + Printable(survivor.state()) +
            "\n";
  }
  const int64_t unnamed = count - survivors.size();
  if (unnamed > 0) text += "  and " + Grouped(unnamed) + " more\n";
  return text;
}

std::string LeftAlive(const google::protobuf::RepeatedPtrField<v1::Survivor>& survivors,
                      int64_t count) {
  if (count == 0) return "";
  return ProcessesAre(count) + " left alive, out of reach of containment group:\n" +
         SurvivorLines(survivors, count);
}

std::string RenderSurvivors(const v1::CancelReceipt& receipt) {
  const bool group = receipt.containment() == v1::CONTAINMENT_GROUP;
  return "not complete: " + ProcessesAre(receipt.survivor_count()) + " still alive after " +
         Time(receipt.duration()) + "\n" +
         SurvivorLines(receipt.survivors(), receipt.survivor_count()) +
         (group ? "  those that have left their session are out of reach of containment group;\n"
                  "  the slots and permits of others stay taken until they are gone\n"
                : "  their slots and permits stay taken until they are gone\n");
}

std::string ContainmentName(v1::Containment containment) {
  switch (containment) {
    case v1::CONTAINMENT_GROUP:
      return "group";
    case v1::CONTAINMENT_SUBREAPER:
      return "subreaper";
    case v1::CONTAINMENT_CGROUP:
      return "cgroup";
    default:
      return "";
  }
}

}  // namespace

std::string EventLines::Note(const v1::NodeEnded& ended) const {
  if (ended.has_items()) return ItemsNote(ended.items());
  const std::string allowed = ended.tolerated() ? " (allowed)" : "";
  if (ended.state() != v1::NODE_STATE_SUCCEEDED) return WhyNot(ended.cause()) + allowed;
  const auto output = output_.find(ended.path());
  return output == output_.end() ? "" : output->second;
}

std::string EventLines::Add(const v1::Event& event) {
  if (event.has_attempt_ended()) {
    // Items are told by their map, but for those that fail.
    if (event.attempt_ended().path().find('[') != std::string::npos) return "";
    const std::string& data = event.attempt_ended().attempt().stdout().inline_data();
    const std::vector<std::string> lines = PrintableLines(data.substr(0, kSummaryBytes + 1));
    if (lines.size() == 1 && data.size() <= kSummaryBytes) {
      output_[event.attempt_ended().path()] = lines[0];
    }
    return "";
  }
  if (!event.has_node_ended()) return "";
  const v1::NodeEnded& ended = event.node_ended();
  const std::string note = Note(ended);
  output_.erase(ended.path());
  // The root's end is the job's. Items that a failed sibling cut short are counted in their map.
  const bool of_item = ended.path().find('[') != std::string::npos;
  if (ended.path().empty() || (of_item && !DidItsWork(ended.state()))) return "";
  const std::string name = Printable(ended.path());
  name_width_ = std::max(name_width_, Columns(name));
  std::string line = PadRight(name, name_width_) + "  " +
                     PadRight(std::string(engine::ShortName(ended.state())), kStateColumns) + "  " +
                     PadLeft(ended.has_elapsed() ? Time(ended.elapsed()) : "", kTimeColumns);
  if (!note.empty()) line += "  " + note;
  line.resize(line.find_last_not_of(' ') + 1);
  if (ended.state() == v1::NODE_STATE_SKIPPED) told_skipped_.insert(ended.path());
  return line;
}

std::vector<std::string> EventLines::AddSkipped(const std::vector<engine::NodeView>& nodes) {
  std::vector<std::string> lines;
  for (const engine::NodeView& node : nodes) {
    const bool skipped = node.state == engine::NodeState::kSkipped;
    if (!skipped || told_skipped_.contains(node.path)) continue;
    v1::Event event;
    v1::NodeEnded& ended = *event.mutable_node_ended();
    ended.set_path(node.path);
    ended.set_state(v1::NODE_STATE_SKIPPED);
    ended.mutable_cause()->set_reason(node.reason);
    if (std::string line = Add(event); !line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

std::string RenderEnd(const v1::Job& job) {
  // The root is the job itself, unless it is all there is.
  const bool counts_root = job.node_count() == 1;
  const auto both = [&](auto count, v1::NodeState state) {
    const bool is_roots = !counts_root && job.state() == state;
    return (job.counts().*count)() + (job.item_counts().*count)() - (is_roots ? 1 : 0);
  };
  std::vector<std::string> parts = {Counted(job.node_count() - (counts_root ? 0 : 1), "node")};
  const v1::StateCounts& ended = job.item_counts();
  const int64_t items = ended.succeeded() + ended.failed() + ended.cancelled() +
                        ended.deadline_exceeded() + ended.skipped();
  if (items > 0) parts.push_back(Counted(items, "item"));
  const int64_t tolerated = both(&v1::StateCounts::tolerated, v1::NODE_STATE_UNSPECIFIED);
  parts.push_back(Grouped(job.error_count() - tolerated) + " failed");
  if (tolerated > 0) parts.push_back(Grouped(tolerated) + " allowed to fail");
  const int64_t cancelled = both(&v1::StateCounts::cancelled, v1::NODE_STATE_CANCELLED);
  if (cancelled > 0) parts.push_back(Grouped(cancelled) + " cancelled");
  const int64_t skipped = both(&v1::StateCounts::skipped, v1::NODE_STATE_SKIPPED);
  if (skipped > 0) parts.push_back(Grouped(skipped) + " skipped");
  return "job " + job.id() + "  " + std::string(engine::ShortName(job.state())) + "  " +
         FormatDuration(Between(job.start_time(), job.end_time())) + "  " + Joined(parts);
}

std::string RenderErrors(const v1::Job& job) {
  if (job.state() == v1::NODE_STATE_SUCCEEDED) return "";
  if (job.errors().empty()) {
    if (job.cause().reason().empty()) return "";
    return "error: " + NameOf(job, job.cause().origin_path()) + ": " +
           Printable(job.cause().reason()) + "\n";
  }
  std::string text;
  int64_t more = job.error_count() - job.errors_size();
  int shown = 0;
  for (const v1::NodeError& error : job.errors()) {
    if (error.tolerated()) continue;
    if (++shown > kErrorsInFull) ++more;
    if (shown <= kErrorsInFull) text += RenderError(job, error);
  }
  if (more > 0) text += "and " + Counted(more, "more error") + "\n";
  return text;
}

std::string RenderLeft(const v1::Job& job) {
  const v1::CancelReceipt& receipt = job.last_cancel();
  const bool told = receipt.path().empty() && receipt.survivor_count() > 0;
  return told ? "" : LeftAlive(job.survivors(), job.survivor_count());
}

std::string RenderReceipt(const v1::CancelReceipt& receipt, const std::string& name) {
  constexpr std::string_view kPrefix = "jobs/";
  const std::string& job = receipt.job();
  std::string subject = job.starts_with(kPrefix) ? job.substr(kPrefix.size()) : job;
  subject += " (" + Printable(name) + ")";
  if (!receipt.path().empty()) subject += " " + Printable(receipt.path());
  if (receipt.already_ended()) {
    return subject + " had ended before\n" +
           LeftAlive(receipt.survivors(), receipt.survivor_count());
  }
  if (receipt.survivor_count() > 0) return RenderSurvivors(receipt);
  if (!receipt.complete()) return "cancelling " + subject + ": not complete yet\n";
  std::string text = "cancelled " + subject + " in " + Time(receipt.duration());
  if (!receipt.cause().reason().empty()) text += ": " + Printable(receipt.cause().reason());
  text += "\n  admission closed   after " +
          FormatDuration(Between(receipt.cause().time(), receipt.admission_close_time()));
  text += "\n  nodes              " + Grouped(receipt.skipped()) + " skipped, " +
          Grouped(receipt.interrupted()) + " interrupted";
  text += "\n  processes          " + Grouped(receipt.terminated()) + " ended by SIGTERM, " +
          Grouped(receipt.killed()) + " by SIGKILL, 0 left";
  const std::string containment = ContainmentName(receipt.containment());
  if (!containment.empty()) text += "    (containment: " + containment + ")";
  if (receipt.cleanups_run() + receipt.cleanups_skipped() > 0) {
    text += "\n  clean-up           " + Grouped(receipt.cleanups_run()) + " run, " +
            Grouped(receipt.cleanups_skipped()) + " left out";
  }
  return text + "\n";
}

}  // namespace nursery::cli
