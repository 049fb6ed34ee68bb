// The steps of a run, as its log has them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/json_lines.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The log of a run of a curve, in its folder.
inline constexpr const char* trace_file_name = "trace.jsonl";

struct TracePoint {
  Index step = 0;
  double deletion_rate = 0.0;  ///< not a number in a step without the gate
  double alpha = 0.0;
};

namespace detail {

/// The mean of those that are numbers; none of none.
class FiniteMean {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    sum_ += value;
    ++count_;
  }
  double value() const {
    return count_ == 0 ? std::numeric_limits<double>::quiet_NaN() : sum_ / static_cast<double>(count_);
  }

 private:
  double sum_ = 0;
  Index count_ = 0;
};

}  // namespace detail

/// Steps rising; of a step that is there twice, because a run was resumed, the later line counts. A line that broke off
/// is left out. Empty without a file.
inline std::vector<TracePoint> read_trace(const std::filesystem::path& path) {
  std::map<Index, TracePoint> points;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    try {
      const io::JsonRecord record(line, path.string(), "line");
      if (record.has("event") || !record.has("step") || !record.has("deletion_rate")) continue;
      const TracePoint point{record.get<Index>("step"), record.get<double>("deletion_rate"),
                             record.find<double>("alpha").value_or(0.0)};
      points[point.step] = point;
    } catch (const IoError&) {
      continue;
    }
  }
  std::vector<TracePoint> trace;
  trace.reserve(points.size());
  for (const auto& [step, point] : points) trace.push_back(point);
  return trace;
}

/// The means of `bins` equal parts of the run, in the middle of each part; parts without a number are left out.
inline std::vector<TracePoint> averaged(const std::vector<TracePoint>& trace, Index bins) {
  std::vector<TracePoint> result;
  if (trace.empty()) return result;
  const Index steps = trace.back().step + 1;
  for (Index bin = 0; bin < bins; ++bin) {
    const Index from = bin * steps / bins, to = (bin + 1) * steps / bins;
    detail::FiniteMean rate, alpha;
    for (const TracePoint& point : trace) {
      if (point.step < from || point.step >= to) continue;
      rate.add(point.deletion_rate);
      alpha.add(point.alpha);
    }
    if (std::isfinite(alpha.value())) result.push_back({(from + to) / 2, rate.value(), alpha.value()});
  }
  return result;
}

/// How the controller did in the last quarter of a run; no numbers without steps that have a gate.
struct LateTraining {
  double rate = std::numeric_limits<double>::quiet_NaN();       ///< mean over the steps with a gate
  double deviation = std::numeric_limits<double>::quiet_NaN();  ///< furthest of a twentieth's mean from the target
};

inline LateTraining late_training(const std::vector<TracePoint>& trace, Index steps, double target) {
  constexpr Index parts = 20, late_parts = 5;
  LateTraining late;
  detail::FiniteMean all;
  for (Index part = parts - late_parts; part < parts; ++part) {
    detail::FiniteMean mean;
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

}  // namespace merganser::runs
