#include "server/rpc/job_service.h"

#include <openssl/evp.h>

#include <algorithm>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/rpc/audit.h"
#include "server/rpc/describe_node.h"
#include "server/rpc/errors.h"
#include "server/rpc/job_view.h"
#include "server/rpc/names.h"
#include "server/spec/scalar.h"

namespace nursery::rpc {
namespace {

// A million items are digested as they are serialised, not kept once more.
class Sha256 final : public google::protobuf::io::CopyingOutputStream {
 public:
  Sha256() {
    // Looked up once: EVP_sha256() is looked up at each use.
    static const EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    EVP_DigestInit_ex(context_.get(), kSha256, nullptr);
  }
  bool Write(const void* data, int size) override {
    return EVP_DigestUpdate(context_.get(), data, static_cast<size_t>(size)) == 1;
  }
  void Finish(unsigned char* digest, unsigned int* size) {
    EVP_DigestFinal_ex(context_.get(), digest, size);
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_{EVP_MD_CTX_new(),
                                                                    EVP_MD_CTX_free};
};

// Of the deterministic serialisation: the same spec gives the same digest.
std::string DigestOf(const v1::JobSpec& spec) {
  Sha256 sha256;
  {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&sha256);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    spec.SerializeWithCachedSizes(&coded);
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  sha256.Finish(digest, &size);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i)
    text += {kDigits[digest[i] >> 4], kDigits[digest[i] & 15]};
  return text;
}

// What a spec that was not admitted looks like as a job.
v1::Job Preview(const spec::Job& spec, const std::string& digest) {
  v1::Job job;
  job.set_display_name(spec.name);
  job.set_spec_digest(digest);
  job.set_node_count(static_cast<int64_t>(spec.nodes.size()));
  *job.mutable_max_teardown() = engine::ToProto(spec.max_teardown);
  job.set_durability(v1::DURABILITY_EPHEMERAL);
  for (const auto& [name, value] : spec.labels) (*job.mutable_labels())[name] = value;
  for (const std::string& limit : spec.limits_not_enforced) job.add_limits_not_enforced(limit);
  return job;
}

// What the contract has and this version does not, beside what the methods refuse themselves.
template <class Request>
absl::Status CheckSupported(const Request&) {
  return absl::OkStatus();
}
absl::Status CheckRequestId(const std::string& request_id) {
  return request_id.empty() ? absl::OkStatus() : NotInThisVersion("request_id");
}
absl::Status CheckSupported(const v1::CancelJobRequest& request) {
  return CheckRequestId(request.request_id());
}
absl::Status CheckSupported(const v1::CancelJobsRequest& request) {
  return CheckRequestId(request.request_id());
}
absl::Status CheckDetail(v1::EventDetail detail) {
  return detail == v1::EVENT_DETAIL_ITEMS ? NotInThisVersion("detail EVENT_DETAIL_ITEMS")
                                          : absl::OkStatus();
}
absl::Status CheckSupported(const v1::RunJobRequest& request) {
  return CheckDetail(request.detail());
}
absl::Status CheckSupported(const v1::WatchJobRequest& request) {
  return CheckDetail(request.detail());
}

Async<absl::Status> Refused(absl::Status status) { co_return status; }

void AddViolations(const std::vector<spec::Violation>& from,
                   google::protobuf::RepeatedPtrField<v1::Violation>* to) {
  for (const spec::Violation& each : from) {
    v1::Violation& violation = *to->Add();
    violation.set_path("job_spec." + each.path);
    violation.set_message(each.message);
  }
}

}  // namespace

void JobService::AddTo(Methods& methods) {
  const std::string service = "nursery.v1.JobService";
  const auto add = [&]<class Request, class Response>(
                       const char* name, uint8_t scope,
                       absl::StatusOr<Response> (JobService::*handle)(const Request&)) -> Method& {
    return methods.AddUnary<Request, Response>(service, name, scope,
                                               [this, handle](Context, Session*, Request request) {
                                                 return Ready((this->*handle)(request));
                                               });
  };
  add("ValidateJob", kRead, &JobService::ValidateJob);
  add("GetJob", kRead, &JobService::GetJob);
  add("ListJobs", kRead, &JobService::ListJobs).is_long = true;
  add("GetNode", kRead, &JobService::GetNode).is_long = true;
  add("ListNodes", kRead, &JobService::ListNodes).is_long = true;
  methods
      .AddUnary<v1::CancelJobsRequest, v1::CancelJobsResponse>(
          service, "CancelJobs", kCancel,
          [this](Context, Session* session, v1::CancelJobsRequest request) {
            absl::Status supported = CheckSupported(request);
            return Ready(supported.ok() ? CancelJobs(*session, request) : supported);
          })
      .is_long = true;
  methods.AddUnary<v1::WaitJobRequest, v1::Job>(
      service, "WaitJob", kRead, [this](Context context, Session*, v1::WaitJobRequest request) {
        return WaitJob(std::move(context), this, std::move(request));
      });
  AddWithSession(methods);
}

void JobService::AddWithSession(Methods& methods) {
  const std::string service = "nursery.v1.JobService";
  const auto add = [&]<class Request, class Response>(
                       const char* name, uint8_t scope,
                       Async<absl::StatusOr<Response>> (*handle)(Context, JobService*, Session*,
                                                                 Request)) -> Method& {
    return methods.AddUnary<Request, Response>(
        service, name, scope, [this, handle](Context context, Session* session, Request request) {
          absl::Status supported = CheckSupported(request);
          if (!supported.ok()) return Ready<Response>(supported);
          return handle(std::move(context), this, session, std::move(request));
        });
  };
  const auto add_stream =
      [&]<class Request>(
          const char* name, uint8_t scope,
          Async<absl::Status> (*handle)(Context, JobService*, Session*, Request)) -> Method& {
    return methods.AddStreaming<Request>(
        service, name, scope, [this, handle](Context context, Session* session, Request request) {
          absl::Status supported = CheckSupported(request);
          if (!supported.ok()) return Refused(supported);
          return handle(std::move(context), this, session, std::move(request));
        });
  };
  add("SubmitJob", kSubmit, &JobService::SubmitJob).while_draining = false;
  add("CancelJob", kCancel, &JobService::CancelJob).is_long = true;
  add_stream("RunJob", kSubmit, &JobService::RunJob).while_draining = false;
  add_stream("WatchJob", kRead, &JobService::WatchJob);
  add_stream("WatchJobs", kRead, &JobService::WatchJobs).is_long = true;
  add_stream("ReadOutput", kRead, &JobService::ReadOutput).is_long = true;
}

std::shared_ptr<const spec::CompileOptions> JobService::compile() const {
  MutexLock lock(mutex_);
  return compile_;
}

void JobService::SetCompile(spec::CompileOptions compile) {
  auto shared = std::make_shared<const spec::CompileOptions>(std::move(compile));
  MutexLock lock(mutex_);
  compile_ = std::move(shared);
}

absl::StatusOr<JobService::JobPtr> JobService::Find(const std::string& name) const {
  absl::StatusOr<std::string> id = ParseJobName(name, "name");
  if (!id.ok()) return id.status();
  JobPtr job = table_.Find(*id);
  if (job != nullptr) return job;
  return WithReason(Error(absl::StatusCode::kNotFound,
                          "no job '" + *id + "' here; it may have ended and been forgotten"),
                    v1::ERROR_REASON_JOB_NOT_FOUND);
}

absl::StatusOr<engine::Submission> JobService::Prepare(const Session& session,
                                                       const v1::JobSpec& spec,
                                                       const std::string& request_id) const {
  const std::shared_ptr<const spec::CompileOptions> compile = this->compile();
  spec::CompileResult compiled = spec::Compile(spec, *compile);
  if (compiled.job == nullptr) return InvalidSpec(compiled.violations, compiled.total_violations);
  engine::Submission submission;
  submission.spec = std::move(compiled.job);
  submission.spec_bytes = static_cast<int64_t>(spec.ByteSizeLong());
  submission.options.default_timeout = DefaultTimeout(*compile);
  submission.spec_digest = DigestOf(spec);
  submission.request_id = request_id;
  submission.submitter = session.identity().name;
  const std::string& workdir = submission.spec->workdir;
  const bool given = !workdir.empty() && workdir != "scratch";
  if (given && !session.identity().is_local) {
    return InvalidField("job_spec.workdir", "only clients on the unix socket may name directories");
  }
  if (given) submission.options.workdir = workdir;
  return submission;
}

// The bound may have been lowered since the default was set.
Duration JobService::DefaultTimeout(const spec::CompileOptions& compile) const {
  const Duration most = compile.max_job_timeout.value_or(Duration::max());
  return std::min(most, table_.engine().default_job_timeout());
}

absl::Status JobService::CheckSlack(const spec::Job& job, Time deadline) const {
  Duration left = job.timeout ? job.timeout->limit : DefaultTimeout(*compile());
  if (deadline != kNever) left = std::min(left, deadline - table_.engine().clock().Now());
  if (left >= rules_.least_slack) return absl::OkStatus();
  return WithReason(
      Error(absl::StatusCode::kDeadlineExceeded,
            "the job has " + spec::FormatDuration(left) + "; with less than " +
                spec::FormatDuration(rules_.least_slack) + " this server does not begin"),
      v1::ERROR_REASON_DEADLINE_UNREACHABLE);
}

Async<absl::StatusOr<v1::Job>> JobService::SubmitJob(Context context, JobService* service,
                                                     Session* session,
                                                     v1::SubmitJobRequest request) {
  if (request.durability() == v1::DURABILITY_DURABLE) {
    co_return WithReason(
        Error(absl::StatusCode::kFailedPrecondition,
              "durability DURABLE: this version keeps jobs in memory only; ask for "
              "EPHEMERAL"),
        v1::ERROR_REASON_NOT_IN_THIS_VERSION);
  }
  if (!request.job_id().empty()) co_return NotInThisVersion("job_id");
  absl::StatusOr<engine::Submission> submission =
      service->Prepare(*session, request.job_spec(), request.request_id());
  if (!submission.ok()) co_return submission.status();
  if (request.validate_only()) co_return Preview(*submission->spec, submission->spec_digest);
  if (request.attach() == v1::ATTACH_DEADLINE) submission->options.deadline = session->deadline();
  absl::Status slack = service->CheckSlack(*submission->spec, submission->options.deadline);
  if (!slack.ok()) co_return slack;
  engine::JobTable& table = service->table_;
  absl::StatusOr<engine::Admitted> admitted =
      co_await engine::JobTable::AdmitWithin(std::move(context), &table, *std::move(submission),
                                             engine::FromProto(request.admission_wait()));
  if (!admitted.ok()) co_return admitted.status();
  if (!admitted->is_new) co_return admitted->job->Describe();
  absl::Status detached = table.Detach(admitted->job);
  if (!detached.ok()) co_return detached;
  Audit(table.engine().clock().WallNow(), session->identity(), "SubmitJob", admitted->job->id(),
        admitted->job->display_name());
  co_return admitted->job->Describe();
}

absl::StatusOr<v1::ValidateJobResponse> JobService::ValidateJob(
    const v1::ValidateJobRequest& request) {
  const std::shared_ptr<const spec::CompileOptions> compile = this->compile();
  const spec::CompileResult compiled = spec::Compile(request.job_spec(), *compile);
  v1::ValidateJobResponse response;
  AddViolations(compiled.violations, response.mutable_violations());
  AddViolations(compiled.warnings, response.mutable_warnings());
  if (compiled.job == nullptr) return response;
  const spec::Job& job = *compiled.job;
  response.set_node_count(static_cast<int64_t>(job.nodes.size()));
  for (const std::string& pool : job.pools) response.add_pools(pool);
  for (const spec::Semaphore& each : job.semaphores) response.add_semaphores(each.name);
  *response.mutable_max_teardown() = engine::ToProto(job.max_teardown);
  const Duration timeout = job.timeout ? job.timeout->limit : DefaultTimeout(*compile);
  if (timeout != spec::TimeLimit::kUnlimited) {
    *response.mutable_timeout() = engine::ToProto(timeout);
  }
  return response;
}

absl::StatusOr<v1::Job> JobService::GetJob(const v1::GetJobRequest& request) {
  absl::StatusOr<JobPtr> job = Find(request.name());
  if (!job.ok()) return job.status();
  return Viewed((*job)->Describe(), request.view());
}

absl::StatusOr<v1::Node> JobService::GetNode(const v1::GetNodeRequest& request) {
  absl::StatusOr<NodeName> name = ParseNodeName(request.name(), "name");
  if (!name.ok()) return name.status();
  absl::StatusOr<JobPtr> job = Find("jobs/" + name->job);
  if (!job.ok()) return job.status();
  return DescribeNode(**job, name->path);
}

}  // namespace nursery::rpc
