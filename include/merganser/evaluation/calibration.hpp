// A table of thresholds, with the deletion rate, quality and time of each, and what to look up in it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// What hard deletion at one threshold made of a sample.
struct CalibrationPoint {
  double threshold = 0.0;                  ///< a gate value: tokens above it were kept
  double deletion_rate = 0.0;              ///< share of the source tokens deleted, in [0, 1]
  double bits_per_byte = 0.0;              ///< as evaluation::BitsPerByte; low is good
  double token_accuracy = 0.0;             ///< in [0, 1]
  double sequence_accuracy = 0.0;          ///< in [0, 1]
  double milliseconds_per_kilobyte = 0.0;  ///< wall time of forward passes, for 1,000 bytes of source

  bool operator==(const CalibrationPoint&) const = default;
};

/// What a table was measured on.
struct CalibrationSample {
  Index source_bytes = 0;
  Index sequences = 0;
  int threads = 1;  ///< that the forward passes could use; times hold for this number, and for this machine
  merge::SurvivorBias survivor_bias = merge::SurvivorBias::kept;

  bool operator==(const CalibrationSample&) const = default;
};

/// The values with the least squared distance to the given ones that never fall (pool adjacent violators).
inline std::vector<double> rising_fit(const std::vector<double>& values) {
  struct Block {
    double mean = 0;
    std::size_t count = 0;
  };
  std::vector<Block> blocks;
  for (const double value : values) {
    Block last{value, 1};
    for (; !blocks.empty() && blocks.back().mean > last.mean; blocks.pop_back()) {
      const std::size_t together = last.count + blocks.back().count;
      last.mean +=
          (blocks.back().mean - last.mean) * (static_cast<double>(blocks.back().count) / static_cast<double>(together));
      last.count = together;
    }
    blocks.push_back(last);
  }
  std::vector<double> fit;
  for (const Block& block : blocks) fit.insert(fit.end(), block.count, block.mean);
  return fit;
}

/// How much a trained model deletes, how good it stays and how long it takes, threshold by threshold, so that a rate or
/// a time can be asked for without training again. `calibrate` measures one, io/calibration_file.hpp keeps it beside
/// the model.
///
/// A threshold from here (`DeletionOptions::threshold`) has its rate **in expectation over texts like the sample**: a
/// text with much to spare loses more, one that needs its tokens less. `DeletionOptions::target_rate` in contrast takes
/// the same share from every sequence, whatever its gate values say.
///
/// Between two points everything is interpolated along the threshold. Rates rise with the threshold and times fall: for
/// that they are taken from `rising_fit`, as times are noisy, and rates of several gates need not rise by themselves.
/// Many equal gate values (of random and fixed gates, repeats) make a step, two points with next to the same threshold,
/// on which no threshold gives the rates between, and a flat stretch beside it.
class Calibration {
 public:
  /// @throws std::invalid_argument if there is no point, thresholds do not rise, a number is not finite or out of its
  ///   range, or the sample has no bytes, no sequences or no thread
  explicit Calibration(std::vector<CalibrationPoint> points, const CalibrationSample& sample)
      : points_(std::move(points)), sample_(sample) {
    check();
    std::vector<double> speeds;
    for (const CalibrationPoint& point : points_) {
      rates_.push_back(point.deletion_rate);
      speeds.push_back(-point.milliseconds_per_kilobyte);
    }
    rates_ = rising_fit(rates_);
    for (const double speed : rising_fit(speeds)) times_.push_back(-speed);
  }

  /// As measured, thresholds rising.
  const std::vector<CalibrationPoint>& points() const { return points_; }
  const CalibrationSample& sample() const { return sample_; }

  double lowest_rate() const { return rates_.front(); }
  double highest_rate() const { return rates_.back(); }
  /// Milliseconds a kilobyte at the highest threshold.
  double fastest() const { return times_.back(); }

  /// The threshold that deletes this share of all tokens of many texts, in [0, 1].
  ///
  /// A rate below or above those of the table counts as the nearest of them. On a step it counts as that of the nearer
  /// end. Where several thresholds have the rate, the one in their middle is taken.
  /// @throws std::invalid_argument if the rate is outside [0, 1]
  double threshold_for_rate(double rate) const {
    check_argument(rate >= 0 && rate <= 1, "Calibration::threshold_for_rate", "rate", rate, "a rate in [0, 1]");
    rate = std::clamp(rate, lowest_rate(), highest_rate());
    const auto next = static_cast<std::size_t>(std::lower_bound(rates_.begin(), rates_.end(), rate) - rates_.begin());
    if (rates_[next] == rate) return middle_of_rate(rate);
    const double before = rates_[next - 1], after = rates_[next];
    if (is_step(next - 1)) return middle_of_rate(rate - before < after - rate ? before : after);
    return std::lerp(threshold(next - 1), threshold(next), (rate - before) / (after - before));
  }

  /// The threshold that deletes least among those that take at most so many milliseconds for 1,000 bytes of source.
  ///
  /// More time than the slowest of the table takes gives its lowest threshold.
  /// @throws std::invalid_argument if nothing in the table is fast enough (the error says what is fastest), or the time
  ///   is no number
  double threshold_for_milliseconds(double per_kilobyte) const {
    check_argument(per_kilobyte >= fastest(), "Calibration::threshold_for_milliseconds", "per_kilobyte", per_kilobyte,
                   "at least " + to_text(fastest()) + ", the fastest of the table");
    std::size_t next = 0;
    while (times_[next] > per_kilobyte) ++next;
    if (next == 0) return threshold(0);
    if (is_step(next - 1)) return std::max(threshold(next), middle_of_rate(rates_[next]));
    const double before = times_[next - 1], after = times_[next];
    return std::lerp(threshold(next - 1), threshold(next), (before - per_kilobyte) / (before - after));
  }

  /// What to expect at a threshold; beyond the table, what its nearest point has.
  /// @throws std::invalid_argument if the threshold is no number
  CalibrationPoint expected_at(double threshold) const {
    check_argument(!std::isnan(threshold), "Calibration::expected_at", "threshold", threshold, "a number");
    std::size_t next = 0;
    while (next + 1 < points_.size() && points_[next].threshold < threshold) ++next;
    const CalibrationPoint& after = points_[next];
    const std::size_t previous = next == 0 ? 0 : next - 1;
    const CalibrationPoint& before = points_[previous];
    const double width = after.threshold / 2 - before.threshold / 2;  // halves: of any two numbers it is finite
    const double share = width > 0 ? std::clamp((threshold / 2 - before.threshold / 2) / width, 0.0, 1.0) : 1.0;
    CalibrationPoint point;
    point.threshold = threshold;
    point.deletion_rate = std::lerp(rates_[previous], rates_[next], share);
    point.bits_per_byte = std::lerp(before.bits_per_byte, after.bits_per_byte, share);
    point.token_accuracy = std::lerp(before.token_accuracy, after.token_accuracy, share);
    point.sequence_accuracy = std::lerp(before.sequence_accuracy, after.sequence_accuracy, share);
    point.milliseconds_per_kilobyte = std::lerp(times_[previous], times_[next], share);
    return point;
  }

  bool operator==(const Calibration& other) const { return points_ == other.points_ && sample_ == other.sample_; }

 private:
  void check() const {
    check_argument(!points_.empty(), "Calibration", "points", "none", "at least one");
    check_argument(sample_.source_bytes >= 1, "Calibration", "sample.source_bytes", sample_.source_bytes, "at least 1");
    check_argument(sample_.sequences >= 1, "Calibration", "sample.sequences", sample_.sequences, "at least 1");
    check_argument(sample_.threads >= 1, "Calibration", "sample.threads", sample_.threads, "at least 1");
    for (std::size_t i = 0; i < points_.size(); ++i) {
      const CalibrationPoint& point = points_[i];
      const auto require = [i](bool holds, const char* field, double got, const char* expected) {
        if (!holds) throw_invalid_argument("Calibration", "points[" + std::to_string(i) + "]." + field, got, expected);
      };
      const auto is_share = [](double value) { return value >= 0 && value <= 1; };
      const auto is_amount = [](double value) { return value >= 0 && std::isfinite(value); };
      require(std::isfinite(point.threshold), "threshold", point.threshold, "a finite number");
      require(i == 0 || points_[i - 1].threshold < point.threshold, "threshold", point.threshold,
              "more than that of the point before");
      require(is_share(point.deletion_rate), "deletion_rate", point.deletion_rate, "in [0, 1]");
      require(is_amount(point.bits_per_byte), "bits_per_byte", point.bits_per_byte, "a finite number from 0");
      require(is_share(point.token_accuracy), "token_accuracy", point.token_accuracy, "in [0, 1]");
      require(is_share(point.sequence_accuracy), "sequence_accuracy", point.sequence_accuracy, "in [0, 1]");
      require(is_amount(point.milliseconds_per_kilobyte), "milliseconds_per_kilobyte", point.milliseconds_per_kilobyte,
              "a finite number from 0");
    }
  }

  double threshold(std::size_t i) const { return points_[i].threshold; }

  /// Whether thresholds i and i + 1 are as good as one.
  bool is_step(std::size_t i) const {
    constexpr double resolution = 1e-6;  // of a float, and a little more
    return threshold(i + 1) - threshold(i) <= resolution * std::max(1.0, std::abs(threshold(i)));
  }

  /// Between the first and the last threshold of a rate that the table has: there, rounding decides nothing.
  double middle_of_rate(double rate) const {
    const auto [first, last] = std::equal_range(rates_.begin(), rates_.end(), rate);
    const auto begin = static_cast<std::size_t>(first - rates_.begin());
    const auto end = static_cast<std::size_t>(last - rates_.begin()) - 1;
    return std::lerp(threshold(begin), threshold(end), 0.5);
  }

  std::vector<CalibrationPoint> points_;
  CalibrationSample sample_;
  std::vector<double> rates_, times_;  // monotone
};

}  // namespace merganser::evaluation
