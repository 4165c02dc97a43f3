// Display: what a person or a pipe sees of a job that runs: on a terminal the tree, redrawn in
// place; in a pipe a line for each node that ended; for a command nothing but what concerns nursery
// itself.
//
// Thread safety: Update and Finish one at a time; OnSignal from any thread.
#ifndef NURSERY_CLIENT_CLI_DISPLAY_H_
#define NURSERY_CLIENT_CLI_DISPLAY_H_

#include <atomic>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/render.h"
#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::cli {

enum class Form {
  kTree,   // a terminal
  kLines,  // a pipe
  kJson,   // one document at the end
  kQuiet,  // the output is a command's own
};

class Display {
 public:
  // By the options and by where stdout goes.
  static Form FormFor(const RunOptions& options);

  explicit Display(Form form);

  // Shows what is new.
  void Update(const engine::Job& job);
  // The last picture, then errors, if they are wanted, and the receipt of a cancel.
  void Finish(const engine::Job& job, const v1::Job& result, bool show_errors);
  // The user asked for the end, for the `count`th time.
  void OnSignal(int count);
  // Nobody reads stdout any more.
  bool abandoned() const { return abandoned_; }

  bool live() const { return form_ == Form::kTree; }
  // Between two pictures.
  Duration period() const;

 private:
  void Redraw(const engine::Job& job, const v1::Job& described);
  void PrintNewEvents(const engine::Job& job);
  void Flush();

  const Form form_;
  const bool colour_;
  std::atomic<int> signals_{0};
  bool abandoned_ = false;
  size_t drawn_ = 0;  // lines of the last picture
  int64_t seq_ = 0;   // last event that was printed
  EventLines lines_;
};

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_DISPLAY_H_
