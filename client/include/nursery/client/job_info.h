// What a server tells about jobs: plain copies of the messages of nursery.v1, whose files say more
// about each field.
//
// Thread safety: plain data.
//
//   if (job.state == State::kFailed) std::cerr << job.errors.front().message;
#ifndef NURSERY_CLIENT_JOB_INFO_H_
#define NURSERY_CLIENT_JOB_INFO_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "nursery/core/clock.h"

namespace nursery::client {

// Where a job or node stands. A newer server may have others: rely on JobInfo::done.
enum class State {
  kUnknown,
  kPending,
  kRunning,
  kEnding,
  kSucceeded,
  kFailed,
  kCancelled,
  kDeadlineExceeded,
  kSkipped,
};

// "SUCCEEDED", ...
std::string_view StateName(State state);

// Why something was ended or never started.
struct CauseInfo {
  std::string kind;         // "CANCELLED", "DEADLINE", "SIBLING_FAILED", ...; empty: there is none
  std::string actor;        // an identity; empty: the server itself
  std::string reason;       // in the words of whoever did it
  std::string origin_path;  // where it started; empty: the root
};

// An error of a node.
struct NodeErrorInfo {
  std::string path;
  int attempt = 0;  // from 1; 0: none was started
  State state = State::kUnknown;
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;
  std::string stderr_tail;
  bool tolerated = false;  // the node may fail
};

// A process that would not die, or that nothing was there to reach it with.
struct Survivor {
  int64_t pid = 0;
  std::string command;
  std::string path;  // empty: that of the attempt it is told with
  std::string state;
};

// What a cancel did.
struct CancelReceipt {
  bool complete = false;       // verified: nothing on the server's host is left
  bool already_ended = false;  // before the cancel
  std::string path;            // empty: the whole job
  CauseInfo cause;
  int64_t skipped = 0;      // nodes that never started
  int64_t interrupted = 0;  // attempts
  int64_t terminated = 0;   // processes that ended by SIGTERM
  int64_t killed = 0;       // processes that needed SIGKILL
  int64_t cleanups_run = 0;
  int64_t cleanups_skipped = 0;
  std::string containment;          // "SUBREAPER", ...; empty: nothing ran
  std::vector<Survivor> survivors;  // at most 100
  int64_t survivor_count = 0;
  Duration duration{};
};

struct JobInfo {
  std::string name;  // "jobs/ID": what the calls of Client take
  std::string id;
  std::string display_name;
  State state = State::kUnknown;
  bool done = false;
  CauseInfo cause;                    // why it ended other than SUCCEEDED
  std::vector<NodeErrorInfo> errors;  // the first ones; the first is the cause
  int64_t error_count = 0;
  int64_t node_count = 0;
  std::optional<WallTime> create_time;
  std::optional<WallTime> start_time;
  std::optional<WallTime> end_time;
  std::optional<WallTime> deadline;
  std::string deadline_source;
  std::map<std::string, std::string> labels;
  std::optional<CancelReceipt> last_cancel;
  std::string submitter;
  std::string output;  // at most 16 KiB
  bool output_truncated = false;
  // What its attempts left alive, at the level "GROUP" of containment.
  std::vector<Survivor> survivors;  // at most 100
  int64_t survivor_count = 0;
  int64_t last_seq = 0;  // of its last event
};

// One try of an action.
struct AttemptInfo {
  int number = 0;  // from 1
  std::optional<WallTime> start_time;
  std::optional<WallTime> end_time;
  std::optional<int> exit_code;
  std::optional<int> signal;  // that ended it
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;  // of a try that did not succeed
  bool out_of_memory = false;
  std::vector<std::string> limits_not_enforced;  // "memory", "pids", "cpu_weight"
  // What it left alive, at the level "GROUP" of containment.
  std::vector<Survivor> survivors;  // at most 16
  int64_t survivor_count = 0;
};

// A vertex of a job's tree as it stands.
struct NodeInfo {
  std::string path;  // empty: the root
  std::string kind;  // "GROUP", "MAP", "EXEC", "SLEEP", "CALL"; empty: newer than this library
  State state = State::kUnknown;
  bool done = false;
  CauseInfo cause;          // why it ended other than SUCCEEDED, or never started
  std::string wait;         // what it waits for: "NEEDS", "POOL_SLOT", ...; empty: it does not
  std::string wait_object;  // the sibling, the pool, ...
  int attempt_count = 0;
  int max_attempts = 0;
  int64_t child_count = 0;            // of a map: its items
  std::vector<AttemptInfo> attempts;  // the last 16 that have ended, of GetNode only
  std::optional<WallTime> start_time;
  std::optional<WallTime> end_time;
};

// What a node waits for, or why it ended so.
struct ExplanationInfo {
  State state = State::kUnknown;
  std::string wait;  // as in NodeInfo
  std::string wait_object;
  std::optional<WallTime> deadline;
  std::string deadline_source;
  std::string text;  // in sentences
};

// One thing that happened to a job.
struct Event {
  int64_t seq = 0;  // to resume a watch after it
  std::optional<WallTime> time;
  std::string kind;  // the field of nursery.v1.Event that is set: "node_ended", "job_ended", ...
  std::string path;  // of the node; empty: the root, or the job
  State state = State::kUnknown;  // of what ends or has ended
  CauseInfo cause;
  int attempt = 0;                       // of attempt_started, attempt_ended and retry_scheduled
  std::optional<int> exit_code;          // of attempt_ended and finally_ended
  std::optional<CancelReceipt> receipt;  // of cancel_completed
};

enum class Stream { kUnknown, kStdout, kStderr };

// A piece of output.
struct OutputChunk {
  std::string path;
  int attempt = 0;
  Stream stream = Stream::kUnknown;
  int64_t offset = 0;  // of the first byte in the stream
  std::string data;
  int64_t gap = 0;  // bytes missing before it
};

struct ServerInfo {
  std::string version;
  std::string instance_id;  // changes with every start
  std::string containment;
  std::vector<std::string> features;
  std::vector<std::string> functions;  // for Call
  std::map<std::string, int64_t> limits;
};

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_JOB_INFO_H_
