#include "server/ops/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include "server/ops/collect.h"

namespace nursery::ops {
namespace {

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(const MetricSources& sources) : sources_(sources) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    Families families;
    families.Gauge("nursery_build_info", "1, with the version as a label.")
        .Add({{"version", sources_.version}}, 1.0);
    CollectTasks(*sources_.executor, families);
    CollectJobs(*sources_.table, families);
    CollectNodes(sources_.table->engine().stats(), families);
    CollectPools(sources_.table->engine(), families);
    CollectSemaphores(sources_.table->engine(), families);
    CollectChildren(*sources_.host, families);
    CollectLimits(*sources_.table, *sources_.server, families);
    CollectCalls(*sources_.server, families);
    CollectProcess(families);
    return families.Take();
  }

 private:
  const MetricSources& sources_;
};

}  // namespace

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(Collector(sources_).Collect());
}

}  // namespace nursery::ops
