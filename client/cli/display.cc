#include "client/cli/display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "client/cli/json.h"

namespace nursery::cli {
namespace {

RenderOptions SizeOfTerminal() {
  RenderOptions options;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.width = size.ws_col;
    // A line stays for the cursor and one for the notice of a signal.
    if (size.ws_row > 3) options.height = size.ws_row - size_t{2};
  }
  return options;
}

const char* Notice(int signals) {
  return signals == 1 ? "cancelling; once more kills at once" : "killing";
}

}  // namespace

Form Display::FormFor(const RunOptions& options) {
  if (options.output.json) return Form::kJson;
  if (options.file.empty()) return Form::kQuiet;
  const char* const terminal = std::getenv("TERM");
  const bool can_draw = terminal != nullptr && std::string_view(terminal) != "dumb";
  return isatty(STDOUT_FILENO) == 1 && can_draw ? Form::kTree : Form::kLines;
}

Display::Display(Form form)
    : form_(form), colour_(form == Form::kTree && std::getenv("NO_COLOR") == nullptr) {}

void Display::Draw(const std::vector<engine::NodeView>& nodes, const v1::Job& job) {
  RenderOptions options = SizeOfTerminal();
  options.colour = colour_;
  if (job.done()) options.height = 0;
  std::vector<std::string> lines = RenderTree(nodes, job, options);
  if (const int signals = signals_; signals > 0 && !job.done()) {
    lines.emplace_back(Notice(signals));
  }
  std::string picture;
  if (drawn_ > 0) picture += "\x1b[" + std::to_string(drawn_) + "F";
  for (const std::string& line : lines) picture += line + "\x1b[K\n";
  picture += "\x1b[J";  // what was longer before
  drawn_ = lines.size();
  std::fputs(picture.c_str(), stdout);
  Flush();
}

void Display::Flush() {
  if (std::fflush(stdout) != 0 && errno == EPIPE) abandoned_ = true;
}

void Display::Add(const v1::RunJobResponse& message) {
  if (form_ != Form::kLines) return;
  for (const v1::Event& event : message.events()) {
    if (const int64_t missed = event.seq() - seq_ - 1; missed > 0) {
      std::printf("(%lld events not shown: they came faster than they could be written)\n",
                  static_cast<long long>(missed));
    }
    seq_ = event.seq();
    if (const std::string line = lines_.Add(event); !line.empty()) std::puts(line.c_str());
  }
  Flush();
}

void Display::OnSignal(int count) {
  signals_ = count;
  if (form_ != Form::kTree) std::fprintf(stderr, "%s\n", Notice(count));
}

void Display::Finish(const std::vector<engine::NodeView>& nodes, const v1::Job& result,
                     bool show_errors) {
  if (form_ == Form::kTree) Draw(nodes, result);
  if (form_ == Form::kJson) std::puts(JobJson(result).c_str());
  if (form_ == Form::kLines) {
    for (const std::string& line : lines_.AddSkipped(nodes)) std::puts(line.c_str());
    std::puts(RenderEnd(result).c_str());
  }
  Flush();
  if (form_ == Form::kJson) return;
  if (show_errors) {
    const std::string errors = RenderErrors(result);
    if (form_ == Form::kTree && !errors.empty()) std::fputc('\n', stderr);
    std::fputs(errors.c_str(), stderr);
  }
  std::fputs(RenderLeft(result).c_str(), stderr);
  if (!result.has_last_cancel()) return;
  std::fputs(RenderReceipt(result.last_cancel(), result.display_name()).c_str(), stderr);
}

}  // namespace nursery::cli
