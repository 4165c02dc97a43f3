// Families: builds what a scrape gives, family by family. Only the sources of this directory
// include this: no other header names a type of prometheus-cpp.
//
// Thread safety: one thread; made anew for each scrape.
//
//   Families families;
//   families.Gauge("nursery_orphans", "Processes that nobody answers for.").Add({}, 0);
//   families.Counter("nursery_cancels_total", "...").Add({{"cause", "deadline"}}, 3);
#ifndef NURSERY_SERVER_OPS_FAMILY_H_
#define NURSERY_SERVER_OPS_FAMILY_H_

#include <prometheus/metric_family.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/engine/engine_stats.h"

namespace nursery::ops {

using Labels = std::vector<std::pair<std::string, std::string>>;

// One family; valid until the next one is begun.
class Family {
 public:
  explicit Family(prometheus::MetricFamily& family) : family_(family) {}

  void Add(const Labels& labels, double value);
  void Add(const Labels& labels, int64_t value) { Add(labels, static_cast<double>(value)); }
  void Add(const Labels& labels, const engine::DurationCounts& counts);
  // A histogram of `by_bucket`, each by itself, with one more than `bounds` for what is above.
  void Add(const Labels& labels, std::span<const double> bounds, std::span<const int64_t> by_bucket,
           double sum);

 private:
  prometheus::ClientMetric& NewMetric(const Labels& labels);

  prometheus::MetricFamily& family_;
};

class Families {
 public:
  Family Counter(std::string name, std::string help);
  Family Gauge(std::string name, std::string help);
  Family Histogram(std::string name, std::string help);

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  Family Begin(std::string name, std::string help, prometheus::MetricType type);

  std::vector<prometheus::MetricFamily> families_;
};

// "DEADLINE_EXCEEDED" as a label: "deadline_exceeded".
std::string LabelOf(std::string_view name);

}  // namespace nursery::ops

#endif  // NURSERY_SERVER_OPS_FAMILY_H_
