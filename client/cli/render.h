// Pictures of jobs as lines of text: the live tree, the lines of a pipe, errors and receipts. What
// comes from a job's processes or its file is made safe to print.
//
// Thread safety: pure functions, but for EventLines, which one thread uses.
//
//   for (const std::string& line : RenderTree(job.View(200), job.Describe(), options)) Print(line);
#ifndef NURSERY_CLIENT_CLI_RENDER_H_
#define NURSERY_CLIENT_CLI_RENDER_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "nursery/v1/event.pb.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/job.h"

namespace nursery::cli {

struct RenderOptions {
  RenderOptions() = default;

  size_t width = 80;    // columns
  size_t height = 0;    // lines at most; 0: as many as it takes
  bool colour = false;  // of states, as ANSI sequences
};

// The tree with states and times, followed by the output of a job that succeeded. What has ended is
// folded, then what has not begun, until it fits the height.
std::vector<std::string> RenderTree(const std::vector<engine::NodeView>& nodes, const v1::Job& job,
                                    const RenderOptions& options);

// The lines of a pipe: one for each node that ended.
class EventLines {
 public:
  EventLines() = default;

  // The line that `event`, the next of its job, adds; empty: none.
  std::string Add(const v1::Event& event);
  // Those of nodes that were skipped with the group around them, which is one event for all.
  std::vector<std::string> AddSkipped(const std::vector<engine::NodeView>& nodes);

 private:
  std::string Note(const v1::NodeEnded& ended) const;

  size_t name_width_ = 8;
  // Attempts that have ended last, of nodes that have not: their output, if it is one line.
  std::map<std::string, std::string> output_;
  std::set<std::string> told_skipped_;
};

// "job 01JD9K3M5X  SUCCEEDED  0.42s  2 nodes, 14 items, 0 failed".
std::string RenderEnd(const v1::Job& job);

// What went wrong, as a block of lines that each end in a newline: the first errors with their
// stderr, where the time went for a deadline. Empty for a job that succeeded.
std::string RenderErrors(const v1::Job& job);

// What its attempts left alive, at a level of containment that could not reach it; lines as above.
// Empty if there is none, or its receipt names it.
std::string RenderLeft(const v1::Job& job);

// What a cancel of the job called `name` did, lines as above.
std::string RenderReceipt(const v1::CancelReceipt& receipt, const std::string& name);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_RENDER_H_
