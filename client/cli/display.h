// Display: what a person or a pipe sees of a job that runs: on a terminal the tree, redrawn in
// place; in a pipe a line for each node that ended; for a command nothing but what concerns nursery
// itself.
//
// Thread safety: none but OnSignal, which may come from another thread.
#ifndef NURSERY_CLIENT_CLI_DISPLAY_H_
#define NURSERY_CLIENT_CLI_DISPLAY_H_

#include <atomic>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::cli {

struct DisplayOptions {
  enum class Form { kTree, kLines, kJson, kQuiet };

  // By the options and by where stdout goes.
  static DisplayOptions For(const RunOptions& options, bool is_command);

  Form form = Form::kLines;
  bool colour = false;
};

class Display {
 public:
  explicit Display(DisplayOptions options) : options_(options) {}

  // Shows what is new.
  void Update(const engine::Job& job);
  // The last picture, errors, and the receipt of a cancel.
  void Finish(const engine::Job& job, const v1::Job& result);
  // The user asked for the end, for the `count`th time.
  void OnSignal(int count);

  bool live() const { return options_.form == DisplayOptions::Form::kTree; }
  // Between two pictures.
  Duration period() const;

 private:
  void Redraw(const std::vector<std::string>& lines);
  void PrintNewEvents(const engine::Job& job);

  const DisplayOptions options_;
  size_t drawn_ = 0;  // lines of the last picture
  int64_t seq_ = 0;   // last event that was printed
};

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_DISPLAY_H_
