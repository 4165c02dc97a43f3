#include "server/ops/family.h"

#include <cctype>
#include <limits>

namespace nursery::ops {

prometheus::ClientMetric& Family::NewMetric(const Labels& labels) {
  prometheus::ClientMetric& metric = family_.metric.emplace_back();
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

void Family::Add(const Labels& labels, double value) {
  prometheus::ClientMetric& metric = NewMetric(labels);
  if (family_.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

void Family::Add(const Labels& labels, const engine::DurationCounts& counts) {
  Add(labels, engine::kDurationBounds, counts.by_bucket, counts.sum_seconds);
}

void Family::Add(const Labels& labels, std::span<const double> bounds,
                 std::span<const int64_t> by_bucket, double sum) {
  prometheus::ClientMetric::Histogram& histogram = NewMetric(labels).histogram;
  for (size_t i = 0; i < by_bucket.size(); ++i) {
    histogram.sample_count += static_cast<uint64_t>(by_bucket[i]);
    const double bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({histogram.sample_count, bound});
  }
  histogram.sample_sum = sum;
}

Family Families::Begin(std::string name, std::string help, prometheus::MetricType type) {
  prometheus::MetricFamily& family = families_.emplace_back();
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return Family(family);
}

Family Families::Counter(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Counter);
}

Family Families::Gauge(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Gauge);
}

Family Families::Histogram(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Histogram);
}

std::string LabelOf(std::string_view name) {
  std::string label(name);
  for (char& c : label) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return label;
}

}  // namespace nursery::ops
