// Client: blocking calls to a nursery server.
//
// Every call takes CallOptions: its timeout and, to cancel it from another thread, a Canceller.
// Errors are codes: the server's own with its message (error.h gives its reason); UNAVAILABLE when
// nobody answers at the address; DEADLINE_EXCEEDED when the call's timeout has passed; CANCELLED
// after Canceller::Cancel. A job that fails is no error of the call that tells so.
//
// Thread safety: any thread, also at the same time; handlers run on the thread of their call.
// Blocks: from tasks of nursery::core only inside RunBlocking. Lifetime: outlives its calls.
//
//   ConnectOptions options;
//   options.address = "unix:/run/nursery/nursery.sock";
//   absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options);
//   if (!client.ok()) return client.status();
//   absl::StatusOr<JobInfo> job = (*client)->Submit(Job("hello").Root(Exec("", {"date"})));
//   if (job.ok()) job = (*client)->Wait(job->name);
#ifndef NURSERY_CLIENT_CLIENT_H_
#define NURSERY_CLIENT_CLIENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/client/call.h"
#include "nursery/client/job_builder.h"
#include "nursery/client/job_info.h"

namespace nursery::client {

struct SubmitOptions {
  SubmitOptions() = default;

  // A UUID; the same job with the same one is accepted once and answered again.
  std::string request_id;
  // How long to wait for admission at a limit; zero: be refused at once.
  Duration admission_wait{};
  // Check everything, accept nothing: the answer has no name.
  bool validate_only = false;
};

// Which events are told: of the job only, or of nodes and attempts too, with maps as progress and
// failures. kItems, every item of every map, is UNIMPLEMENTED so far.
enum class Detail { kJob, kNodes, kItems };

// What is called while a call goes on; unset: nothing is. An exception leaves through the call.
struct Handlers {
  Handlers() = default;

  std::function<void(const std::string& job)> on_started;  // Run: the job's name
  std::function<void(const Event& event)> on_event;        // Run, Watch
  // ReadOutput; Run: all that attempts write, while they do.
  std::function<void(const OutputChunk& chunk)> on_output;
  // Watch: the events asked for are gone; this is the job at `as_of_seq`, and later ones follow.
  std::function<void(const JobInfo& job, int64_t as_of_seq)> on_snapshot;
};

struct RunOptions {
  RunOptions() = default;

  Detail detail = Detail::kNodes;
  Duration admission_wait{};  // as in SubmitOptions
};

struct WatchOptions {
  WatchOptions() = default;

  int64_t after_seq = 0;  // events after this one; 0: from the start
  std::string path;       // this node and below; empty: all
  Detail detail = Detail::kNodes;
};

struct CancelOptions {
  CancelOptions() = default;

  std::string path;                // this node and below; empty: the whole job
  std::string reason;              // shown wherever the cancel is
  bool wait = true;                // until all is verified gone; else the receipt is incomplete
  bool kill = false;               // SIGKILL at once, without `finally`
  std::optional<Duration> grace;   // from SIGTERM to SIGKILL, instead of the nodes' own
  bool counts_as_skipped = false;  // the group of `path` goes on; else it is a failure there
};

struct OutputOptions {
  OutputOptions() = default;

  std::string path;             // of the node; empty: the root
  bool recursive = false;       // every node below it too
  int attempt = 0;              // from 1; 0: the last, and those that follow
  std::vector<Stream> streams;  // empty: both
  // At most one: start at this byte (of one stream of one node), or so many bytes or lines before
  // the end. More than one: INVALID_ARGUMENT.
  std::optional<int64_t> offset;
  std::optional<int64_t> tail_bytes;
  std::optional<int64_t> tail_lines;
  bool follow = false;  // go on until the node has ended
};

struct ListOptions {
  ListOptions() = default;

  std::string filter;    // state = FAILED AND labels.team = "x"
  std::string order_by;  // "create_time desc", which is also the default, or "create_time"
  int page_size = 0;     // 0: 50; at most 1,000
  std::string page_token;
};

struct JobPage {
  std::vector<JobInfo> jobs;    // in the order asked for
  std::string next_page_token;  // empty: the last page
};

struct ListNodesOptions {
  ListNodesOptions() = default;

  std::string path;    // this node and below; empty: all
  int depth = 0;       // levels; 0: all
  std::string filter;  // state = FAILED AND kind = EXEC
  // "path", which is also the default, "failed_first", or "urgent": one page, and no token, with
  // what has failed, runs or waits before what has ended.
  std::string order_by;
  int page_size = 0;  // 0: 50; at most 1,000
  std::string page_token;
};

struct NodePage {
  std::vector<NodeInfo> nodes;  // by path parents come before children
  std::string next_page_token;  // empty: the last page
};

class Client {
 public:
  // UNAVAILABLE: nobody answers there, and why; INVALID_ARGUMENT: options that do not belong
  // together; the file's error: one that cannot be read.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ConnectOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Hands the job to the server; it goes on by itself. The timeout bounds the admission only.
  absl::StatusOr<JobInfo> Submit(const Job& job, const SubmitOptions& options = {},
                                 const CallOptions& call = {});
  // Runs the job inside the call and returns its result: a call that is cancelled or lost cancels
  // the tree. The timeout, less a twentieth for telling the end, is the job's deadline; when that
  // passes the answer is the job's result or, if it came too late, DEADLINE_EXCEEDED.
  absl::StatusOr<JobInfo> Run(const Job& job, const RunOptions& options = {},
                              const Handlers& handlers = {}, const CallOptions& call = {});

  // `job` is a JobInfo::name in all of these.
  absl::StatusOr<JobInfo> Get(const std::string& job, const CallOptions& call = {});
  // INVALID_ARGUMENT: a filter or an order that is none; a page_token of other options.
  absl::StatusOr<JobPage> List(const ListOptions& options = {}, const CallOptions& call = {});
  // The root's path is empty. NOT_FOUND: there is no such node, or its group was never opened.
  absl::StatusOr<NodeInfo> GetNode(const std::string& job, const std::string& path,
                                   const CallOptions& call = {});
  // As List; NOT_FOUND: there is no such path.
  absl::StatusOr<NodePage> ListNodes(const std::string& job, const ListNodesOptions& options = {},
                                     const CallOptions& call = {});
  absl::StatusOr<ExplanationInfo> Explain(const std::string& job, const std::string& path,
                                          const CallOptions& call = {});
  // Until the job is done. At the timeout: the job as it is then (done is false).
  absl::StatusOr<JobInfo> Wait(const std::string& job, const CallOptions& call = {});
  // Tells what happens until the job is done, then returns OK. After an error go on with after_seq
  // set to the last Event::seq: nothing is missed and nothing told twice.
  absl::Status Watch(const std::string& job, const WatchOptions& options, const Handlers& handlers,
                     const CallOptions& call = {});
  // Nothing below starts any more once this returns. With a timeout and `wait` the receipt may be
  // incomplete; it is then to be had later as JobInfo::last_cancel.
  absl::StatusOr<CancelReceipt> Cancel(const std::string& job, const CancelOptions& options = {},
                                       const CallOptions& call = {});
  // Calls on_output; each stream's bytes come in order. FAILED_PRECONDITION: nothing was written by
  // that attempt, or it is not kept.
  absl::Status ReadOutput(const std::string& job, const OutputOptions& options,
                          const Handlers& handlers, const CallOptions& call = {});
  absl::StatusOr<ServerInfo> GetServerInfo(const CallOptions& call = {});

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_CLIENT_H_
