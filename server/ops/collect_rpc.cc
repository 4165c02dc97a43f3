// Calls, connections, and what was refused.
#include "server/ops/collect.h"

namespace nursery::ops {
namespace {

// By code, as gRPC's own interceptors name them.
constexpr const char* kCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};
static_assert(std::size(kCodes) == decltype(rpc::MethodStats::handled){}.size());

using MethodList = std::vector<const rpc::Method*>;

Labels LabelsOf(const rpc::Method& method) {
  return {
      {"grpc_service", method.service}, {"grpc_method", method.name}, {"grpc_type", method.type}};
}

void CollectCounter(const char* name, const char* help, const MethodList& methods,
                    std::atomic<int64_t> rpc::MethodStats::* counter, Families& families) {
  Family family = families.Counter(name, help);
  for (const rpc::Method* method : methods) {
    const std::atomic<int64_t>& value = (*method->stats).*counter;
    family.Add(LabelsOf(*method), value.load(std::memory_order_relaxed));
  }
}

void CollectHandled(const MethodList& methods, Families& families) {
  Family handled =
      families.Counter("grpc_server_handled_total", "Calls that were answered, by status code.");
  for (const rpc::Method* method : methods) {
    for (size_t code = 0; code < std::size(kCodes); ++code) {
      Labels labels = LabelsOf(*method);
      labels.emplace_back("grpc_code", kCodes[code]);
      handled.Add(labels, method->stats->handled[code].load(std::memory_order_relaxed));
    }
  }
  Family seconds =
      families.Histogram("grpc_server_handling_seconds", "From a call's arrival to its answer.");
  for (const rpc::Method* method : methods) {
    std::array<int64_t, rpc::kHandlingBounds.size() + 1> by_bucket{};
    for (size_t i = 0; i < by_bucket.size(); ++i) {
      by_bucket[i] = method->stats->by_time[i].load(std::memory_order_relaxed);
    }
    const int64_t sum = method->stats->nanoseconds.load(std::memory_order_relaxed);
    seconds.Add(LabelsOf(*method), rpc::kHandlingBounds, by_bucket, static_cast<double>(sum) / 1e9);
  }
}

}  // namespace

void CollectCalls(rpc::Server& server, Families& families) {
  using Stats = rpc::MethodStats;
  const MethodList methods = server.methods().All();
  CollectCounter("grpc_server_started_total", "Calls that came.", methods, &Stats::started,
                 families);
  CollectHandled(methods, families);
  CollectCounter("grpc_server_msg_received_total", "Messages of answered calls from clients.",
                 methods, &Stats::received, families);
  CollectCounter("grpc_server_msg_sent_total", "Messages of answered calls to clients.", methods,
                 &Stats::sent, families);
  families.Gauge("nursery_connections", "Open connections of clients.")
      .Add({}, server.connections());
}

void CollectLimits(engine::JobTable& table, rpc::Server& server, Families& families) {
  const engine::TableStats stats = table.Stats();
  const std::pair<const char*, int64_t> rejected[] = {
      {"jobs", stats.refused_jobs},
      {"nodes", stats.refused_nodes},
      {"bytes", stats.refused_bytes},
      {"calls", server.rejected_calls()},
      {"connections", server.refused_connections()}};
  Family rejections = families.Counter("nursery_admission_rejected_total",
                                       "What was refused at a limit, by what the limit is of.");
  for (const auto& [reason, count] : rejected) rejections.Add({{"reason", reason}}, count);
  families.Gauge("nursery_admitted_bytes", "Bytes of the specs of live jobs.").Add({}, stats.bytes);
  const auto& deadlines = table.engine().stats().deadlines;
  const auto passed = [&](engine::DeadlineAt at) {
    return deadlines[static_cast<size_t>(at)].Read();
  };
  Family exceeded = families.Counter("nursery_deadline_exceeded_total",
                                     "Deadlines that passed: of calls at their admission, of nodes "
                                     "before their start (queue) and after it (run).");
  exceeded.Add({{"where", "admission"}}, server.late_calls());
  exceeded.Add({{"where", "queue"}}, passed(engine::DeadlineAt::kQueue));
  exceeded.Add({{"where", "run"}}, passed(engine::DeadlineAt::kRun));
}

}  // namespace nursery::ops
