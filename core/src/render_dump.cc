#include "nursery/core/internal/render_dump.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <utility>

#include "nursery/core/internal/breather.h"
#include "nursery/core/internal/poller.h"
#include "nursery/core/task_profile.h"
#include "nursery/core/wait_graph.h"

namespace nursery::internal {
namespace {

void AppendNumber(uint64_t number, int base, std::string& text) {
  char digits[32];
  text.append(digits, std::to_chars(digits, std::end(digits), number, base).ptr);
}

// "fd 5", or the address of what it waits on.
void AppendObject(const TaskEntry& task, std::string& text) {
  // Others wait for io of their own, and what is seen may be of two moments.
  const std::optional<int> descriptor =
      task.reason == WaitReason::kIo ? ObjectAsDescriptor(task.object) : std::nullopt;
  if (descriptor) {
    text += "fd ";
    AppendNumber(static_cast<uint64_t>(*descriptor), 10, text);
  } else {
    text += "0x";
    AppendNumber(reinterpret_cast<uintptr_t>(task.object), 16, text);
  }
}

void AppendLine(const std::source_location& site, std::string& text) {
  text.append(site.file_name()).append(":");
  AppendNumber(site.line(), 10, text);
}

void AppendOneLine(std::string_view line, std::string& text) {
  for (const char c : line) {
    const bool breaks = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    text += breaks ? ' ' : c;
  }
}

// Keeps what neighbours in the list mostly share: their times, which come from a coarse clock,
// their places, and the chain above them.
class TextRenderer {
 public:
  TextRenderer(const TaskSnapshot& snapshot, std::string& text)
      : snapshot_(snapshot), text_(text) {}

  void Render() {
    const auto count = std::count_if(snapshot_.tasks.begin(), snapshot_.tasks.end(),
                                     [](const TaskEntry& task) { return task.listed; });
    constexpr size_t kBytesOfTask = 320;
    text_.reserve(text_.size() + static_cast<size_t>(count) * kBytesOfTask + 64);
    text_ += std::to_string(count) + " tasks\n";
    Breather breather;
    for (const TaskEntry& task : snapshot_.tasks) {
      if (task.listed) AppendTask(task);
      breather.Step();
    }
  }

 private:
  struct Formatted {
    Duration duration = Duration::min();
    std::string text;
  };
  struct FormattedLine {
    std::source_location line;
    std::string text;
  };

  static const std::string& Format(Duration duration, Formatted& last) {
    if (duration != last.duration) last = {duration, FormatDuration(duration)};
    return last.text;
  }
  static const std::string& Format(const std::source_location& line, FormattedLine& last) {
    if (last.text.empty() || line.line() != last.line.line() ||
        line.file_name() != last.line.file_name()) {
      last = {line, LineText(line)};
    }
    return last.text;
  }

  void AppendTask(const TaskEntry& task) {
    const Time now = snapshot_.taken;
    text_ += "\ntask ";
    AppendNumber(task.id, 10, text_);
    text_.append(" [")
        .append(task.doing())
        .append(", ")
        .append(Format(now - task.since, in_state_));
    text_ += "] ";
    AppendOneLine(task.name, text_);
    text_.append("  age ").append(Format(now - task.spawned, age_));
    if (task.deadline > now && task.deadline != kNever) {
      text_.append("  deadline in ").append(Format(task.deadline - now, deadline_));
    } else if (task.deadline != kNever) {
      text_.append("  deadline passed ").append(Format(now - task.deadline, deadline_));
      text_.append(" ago");
    }
    if (task.cancelled()) text_ += "  cancelled";
    if (task.object != nullptr) {
      text_ += "  on ";
      AppendObject(task, text_);
    }
    if (task.line.line() != 0) text_.append("\n    at ").append(Format(task.line, line_));
    text_ += "\n";
    AppendChain(task);
  }

  void AppendChain(const TaskEntry& task) {
    AppendScope(task, text_);
    if (task.parent_id == 0) return;
    if (chain_above_ != task.parent_id) {
      chain_above_ = task.parent_id;
      chain_.clear();
      for (const TaskEntry* outer = snapshot_.Find(chain_above_); outer != nullptr;
           outer = snapshot_.Find(outer->parent_id)) {
        AppendScope(*outer, chain_);
      }
    }
    text_ += chain_;
  }

  void AppendScope(const TaskEntry& task, std::string& text) {
    text += task.parent_id == 0 ? "    started at " : "    spawned at ";
    text += Format(task.spawn_site, spawn_site_);
    if (task.parent_id == 0) {
      text += " as ";
      AppendOneLine(task.name, text);
    } else {
      text += " by task ";
      AppendNumber(task.parent_id, 10, text);
    }
    text += "\n";
  }

  const TaskSnapshot& snapshot_;
  std::string& text_;
  Formatted in_state_;
  Formatted age_;
  Formatted deadline_;
  FormattedLine line_;
  FormattedLine spawn_site_;
  uint64_t chain_above_ = 0;  // the task that chain_ begins with
  std::string chain_;
};

// Bytes of the character of UTF-8 that `text` begins with; 0: it begins with none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  if (first >= 0xc2 && first <= 0xdf) length = 2;
  if (first >= 0xe0 && first <= 0xef) length = 3;
  if (first >= 0xf0 && first <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  // Longer than it need be, half of a UTF-16 pair, or beyond the last character.
  const unsigned second = byte(1);
  const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                     (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return wrong ? 0 : length;
}

// A JSON string; U+FFFD for each byte that is not UTF-8.
void AppendQuoted(std::string_view value, std::string& text) {
  text += '"';
  while (!value.empty()) {
    const char c = value.front();
    const size_t length = Utf8Length(value);
    if (length == 0) {
      text += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      text += {'\\', c};
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      text += escaped;
    } else {
      text += value.substr(0, length);
    }
    value.remove_prefix(std::max<size_t>(length, 1));
  }
  text += '"';
}

void AppendText(std::string_view key, std::string_view value, std::string& text) {
  text += key;
  AppendQuoted(value, text);
}

void AppendSeconds(std::string_view key, Duration duration, std::string& text) {
  char number[40];
  std::snprintf(number, sizeof number, "%.6f", std::chrono::duration<double>(duration).count());
  text += key;
  text += number;
}

void AppendTask(const TaskEntry& task, Time now, std::string& text) {
  text += "{\"id\":" + std::to_string(task.id);
  text += ",\"parent_id\":" + std::to_string(task.parent_id);
  AppendText(",\"name\":", task.name, text);
  AppendText(",\"state\":", Name(task.state), text);
  AppendText(",\"reason\":", Name(task.reason), text);
  if (task.object != nullptr) {
    text += ",\"object\":\"";
    AppendObject(task, text);
    text += '"';
  }
  if (task.line.line() != 0) AppendText(",\"line\":", LineText(task.line), text);
  AppendText(",\"spawn_site\":", LineText(task.spawn_site), text);
  AppendSeconds(",\"state_seconds\":", now - task.since, text);
  AppendSeconds(",\"age_seconds\":", now - task.spawned, text);
  if (task.deadline != kNever) AppendSeconds(",\"deadline_seconds\":", task.deadline - now, text);
  if (task.cancelled()) AppendSeconds(",\"cancelled_seconds\":", now - task.cancel_time, text);
  text += task.cancelled() ? ",\"cancelled\":true}" : ",\"cancelled\":false}";
}

}  // namespace

std::string OneLine(std::string_view text) {
  std::string line;
  AppendOneLine(text, line);
  return line;
}

std::string LineText(const std::source_location& site) {
  std::string text;
  AppendLine(site, text);
  return text;
}

void AppendDump(const TaskSnapshot& snapshot, std::string& text) {
  TextRenderer(snapshot, text).Render();
}

std::string RenderText(const TaskSnapshot& snapshot) {
  std::string text;
  AppendDump(snapshot, text);
  return text;
}

std::string DescribeSleepers(std::vector<TaskSnapshot> snapshots) {
  std::string all;
  for (TaskSnapshot& snapshot : snapshots) {
    AppendDump(snapshot, all);
    for (TaskEntry& task : snapshot.tasks) {
      // A join ends when its children do: the cause is further down.
      task.listed = task.reason != WaitReason::kGroupJoin;
    }
  }
  return std::string(kAsleep) + "; nothing wakes\n" + FormatTaskProfile(Profile(snapshots)) +
         "\nof all, " + all + FormatWaitGraph(FindWaitCycles());
}

std::string RenderJson(const std::vector<TaskSnapshot>& snapshots) {
  std::string text = "{\"executors\":[";
  for (const TaskSnapshot& snapshot : snapshots) {
    text += &snapshot == snapshots.data() ? "\n{\"tasks\":[" : ",\n{\"tasks\":[";
    const char* separator = "\n";
    Breather breather;
    for (const TaskEntry& task : snapshot.tasks) {
      breather.Step();
      if (!task.listed) continue;
      text += separator;
      AppendTask(task, snapshot.taken, text);
      separator = ",\n";
    }
    text += "]}";
  }
  return text + "]}\n";
}

}  // namespace nursery::internal
