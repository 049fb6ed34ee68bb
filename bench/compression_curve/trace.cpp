// The steps of a run.
#include "trace.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "run_row.hpp"

namespace compression_curve {

namespace {

/// The mean of those that are numbers.
class Mean {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    sum_ += value;
    ++count_;
  }
  double value() const { return count_ == 0 ? no_figure : sum_ / static_cast<double>(count_); }

 private:
  double sum_ = 0;
  Index count_ = 0;
};

}  // namespace

std::vector<TracePoint> read_trace(const std::filesystem::path& path) {
  std::map<Index, TracePoint> points;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object.contains("deletion_rate")) continue;
    const auto& rate = object["deletion_rate"];
    const TracePoint point{object["step"].get<Index>(), rate.is_number() ? rate.get<double>() : no_figure,
                           object.value("alpha", 0.0)};
    points[point.step] = point;
  }
  std::vector<TracePoint> trace;
  for (const auto& [step, point] : points) trace.push_back(point);
  return trace;
}

std::vector<TracePoint> averaged(const std::vector<TracePoint>& trace, Index bins) {
  std::vector<TracePoint> result;
  if (trace.empty()) return result;
  const Index steps = trace.back().step + 1;
  for (Index bin = 0; bin < bins; ++bin) {
    const Index from = bin * steps / bins, to = (bin + 1) * steps / bins;
    Mean rate, alpha;
    for (const TracePoint& point : trace)
      if (point.step >= from && point.step < to) rate.add(point.deletion_rate), alpha.add(point.alpha);
    if (std::isfinite(alpha.value())) result.push_back({(from + to) / 2, rate.value(), alpha.value()});
  }
  return result;
}

LateTraining late_training(const std::vector<TracePoint>& trace, Index steps, double target) {
  constexpr Index parts = 20, late_parts = 5;
  LateTraining late{no_figure, no_figure};
  Mean all;
  for (Index part = parts - late_parts; part < parts; ++part) {
    Mean mean;
    for (const TracePoint& point : trace)
      if (point.step >= part * steps / parts && point.step < (part + 1) * steps / parts) {
        mean.add(point.deletion_rate);
        all.add(point.deletion_rate);
      }
    const double deviation = std::abs(mean.value() - target);
    if (std::isfinite(deviation) && !(deviation <= late.deviation)) late.deviation = deviation;
  }
  late.rate = all.value();
  return late;
}

}  // namespace compression_curve
