#include "client/cli/display.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "server/engine/convert.h"

namespace nursery::cli {

DisplayOptions DisplayOptions::For(const RunOptions& options, bool is_command) {
  DisplayOptions display;
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  display.form = options.output.json ? Form::kJson
                 : is_command        ? Form::kQuiet
                 : terminal          ? Form::kTree
                                     : Form::kLines;
  display.colour = terminal && std::getenv("NO_COLOR") == nullptr;
  return display;
}

Duration Display::period() const {
  return live() ? Duration(std::chrono::milliseconds(100)) : Duration(std::chrono::hours(1));
}

void Display::Update(const engine::Job& job) {
  if (options_.form == DisplayOptions::Form::kLines) PrintNewEvents(job);
}

void Display::PrintNewEvents(const engine::Job& job) {
  auto events = job.Events(seq_, 1000);
  if (!events.ok()) return;
  for (const v1::Event& event : events->events) {
    seq_ = event.seq();
    if (event.has_node_ended()) {
      std::printf("%s %s %s\n", event.node_ended().path().c_str(),
                  std::string(engine::ShortName(event.node_ended().state())).c_str(),
                  event.node_ended().cause().reason().c_str());
    }
  }
}

void Display::OnSignal(int) {}

void Display::Finish(const engine::Job& job, const v1::Job& result) {
  Update(job);
  std::fflush(stdout);
  if (options_.form != DisplayOptions::Form::kQuiet)
    std::fprintf(stderr, "%s\n", result.DebugString().c_str());
}

}  // namespace nursery::cli
