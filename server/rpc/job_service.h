// JobService: what nursery.v1.JobService answers. Converts, calls the table and the engine, and
// converts back.
//
// Thread safety: any thread. Lifetime: outlives the server; the table outlives it.
#ifndef NURSERY_SERVER_RPC_JOB_SERVICE_H_
#define NURSERY_SERVER_RPC_JOB_SERVICE_H_

#include <memory>
#include <string>

#include "nursery/core/mutex.h"
#include "nursery/v1/job_service.pb.h"
#include "server/engine/job_table.h"
#include "server/rpc/methods.h"
#include "server/rpc/places.h"
#include "server/spec/compile.h"

namespace nursery::rpc {

struct AdmissionRules {
  AdmissionRules() = default;

  // A job with less time than this left is refused.
  Duration least_slack{};
  // Of WatchJob and WatchJobs at once: each costs a task, a bell and a connection's stream. RunJob
  // and ReadOutput count among the calls only.
  int64_t watchers = 1'000;
};

class JobService {
 public:
  JobService(engine::JobTable& table, spec::CompileOptions compile, AdmissionRules rules)
      : table_(table),
        rules_(rules),
        watchers_(rules.watchers),
        compile_(std::make_shared<const spec::CompileOptions>(std::move(compile))) {}

  void AddTo(Methods& methods);
  // Calls of WatchJob and WatchJobs that go on.
  int64_t watchers() const { return watchers_.taken(); }

  std::shared_ptr<const spec::CompileOptions> compile() const NURSERY_EXCLUDES(mutex_);
  // For specs that come from now on.
  void SetCompile(spec::CompileOptions compile) NURSERY_EXCLUDES(mutex_);

 private:
  using JobPtr = std::shared_ptr<engine::Job>;

  // Those that know who calls.
  void AddWithSession(Methods& methods);
  absl::StatusOr<v1::ValidateJobResponse> ValidateJob(const v1::ValidateJobRequest& request);
  absl::StatusOr<v1::Job> GetJob(const v1::GetJobRequest& request);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::CancelJobsResponse> CancelJobs(const Session& session,
                                                    const v1::CancelJobsRequest& request);
  absl::StatusOr<v1::Node> GetNode(const v1::GetNodeRequest& request);
  absl::StatusOr<v1::ListNodesResponse> ListNodes(const v1::ListNodesRequest& request);
  static Async<absl::StatusOr<v1::Job>> SubmitJob(Context context, JobService* service,
                                                  Session* session, v1::SubmitJobRequest request);
  static Async<absl::StatusOr<v1::Job>> WaitJob(Context context, JobService* service,
                                                v1::WaitJobRequest request);
  static Async<absl::StatusOr<v1::CancelReceipt>> CancelJob(Context context, JobService* service,
                                                            Session* session,
                                                            v1::CancelJobRequest request);
  static Async<absl::Status> RunJob(Context context, JobService* service, Session* session,
                                    v1::RunJobRequest request);
  static Async<absl::Status> WatchJob(Context context, JobService* service, Session* session,
                                      v1::WatchJobRequest request);
  static Async<absl::Status> WatchJobs(Context context, JobService* service, Session* session,
                                       v1::WatchJobsRequest request);
  static Async<absl::Status> ReadOutput(Context context, JobService* service, Session* session,
                                        v1::ReadOutputRequest request);

  // `name` is "jobs/ID". NOT_FOUND, INVALID_ARGUMENT.
  absl::StatusOr<JobPtr> Find(const std::string& name) const;
  absl::StatusOr<engine::Submission> Prepare(const Session& session, const v1::JobSpec& spec,
                                             const std::string& request_id) const;
  // DEADLINE_EXCEEDED: `deadline`, or the job's own timeout, leaves less than the least slack.
  Duration DefaultTimeout(const spec::CompileOptions& compile) const;
  absl::Status CheckSlack(const spec::Job& job, Time deadline) const;

  engine::JobTable& table_;
  const AdmissionRules rules_;
  Places watchers_;
  mutable Mutex mutex_;
  std::shared_ptr<const spec::CompileOptions> compile_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_JOB_SERVICE_H_
