// Display: what a person or a pipe sees of a job that runs: on a terminal the tree, redrawn in
// place; in a pipe a line for each node that ended; for a command nothing but what concerns nursery
// itself.
//
// Thread safety: Add, Draw and Finish one at a time; OnSignal and abandoned from any thread.
#ifndef NURSERY_CLIENT_CLI_DISPLAY_H_
#define NURSERY_CLIENT_CLI_DISPLAY_H_

#include <atomic>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/render.h"
#include "nursery/v1/job_service.pb.h"

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
  Form form() const { return form_; }

  // What the stream of a run has brought; for lines.
  void Add(const v1::RunJobResponse& message);
  // The tree as it stands.
  void Draw(const std::vector<engine::NodeView>& nodes, const v1::Job& job);
  // The last picture, then errors, if they are wanted, and the receipt of a cancel.
  void Finish(const std::vector<engine::NodeView>& nodes, const v1::Job& result, bool show_errors);
  // The user asked for the end, for the `count`th time.
  void OnSignal(int count);
  // Nobody reads stdout any more.
  bool abandoned() const { return abandoned_; }

 private:
  void Flush();

  const Form form_;
  const bool colour_;
  std::atomic<int> signals_{0};
  std::atomic<bool> abandoned_{false};
  size_t drawn_ = 0;  // lines of the last picture
  int64_t seq_ = 0;   // last event that was printed
  EventLines lines_;
};

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_DISPLAY_H_
