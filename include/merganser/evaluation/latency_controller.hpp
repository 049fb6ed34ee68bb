// Keeps the time that a kilobyte takes at a budget while a model runs, by moving the deletion threshold.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/evaluation/calibration.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// rate = clamp(rate + gain * weight * e), with e = clamp(measured / budget - 1, -1, largest_error): too slow deletes
/// more, too fast deletes less. The threshold is that of the rate in a calibration.
///
/// Integral control whose integral is the rate itself: it stops at the limits and leaves them with the first error of
/// the other sign, so nothing winds up. It knows neither a clock nor a machine: the caller hands in what was measured,
/// and the same measurements give the same thresholds. Where more is deleted because the machine is slow, quality falls
/// as the table says. A value type; one thread at a time.
///
///     const double threshold = controller.update(bytes, milliseconds);  // after a text or a batch
///     options.deletion.threshold = threshold;                          // for the next
class LatencyController {
 public:
  struct Config {
    double budget = 0.0;  ///< milliseconds for 1,000 bytes of source, above 0
    /// What is added to the rate when a measurement is twice the budget. With S, the fall of time over budget from rate
    /// 0 to 1 (about 1 where deletion helps), each update closes gain * S of the gap: small is smooth, 2 / S swings
    /// without end. 0.2 follows a change in some ten updates and passes a fifth of the noise on.
    double gain = 0.2;
    double largest_error = 1.0;         ///< what one measurement can say at most, as a multiple of the budget
    Index full_weight_bytes = 1000;     ///< a measurement of fewer bytes counts in proportion
    std::optional<double> lowest_rate;  ///< in [0, 1]; that of the table unless given, and where it is beyond the table
    std::optional<double> highest_rate;
  };

  /// Starts with the rate that the table has for the budget, or with the fastest if none has.
  /// @throws std::invalid_argument if budget, gain, largest_error or full_weight_bytes is not positive, or the limits
  ///   of the rate are not two rising numbers in [0, 1]
  LatencyController(Calibration calibration, const Config& config)
      : calibration_(std::move(calibration)),
        config_(config),
        lowest_(config.lowest_rate.value_or(calibration_.lowest_rate())),
        highest_(config.highest_rate.value_or(std::max(lowest_, calibration_.highest_rate()))) {
    const auto require_positive = [](double value, const char* name) {
      check_argument(value > 0 && std::isfinite(value), "LatencyController", name, value, "a positive number");
    };
    require_positive(config.budget, "budget");
    require_positive(config.gain, "gain");
    require_positive(config.largest_error, "largest_error");
    require_positive(static_cast<double>(config.full_weight_bytes), "full_weight_bytes");
    check_argument(lowest_ >= 0 && lowest_ <= 1, "LatencyController", "lowest_rate", lowest_, "in [0, 1]");
    check_argument(highest_ >= lowest_ && highest_ <= 1, "LatencyController", "highest_rate", highest_,
                   "from the lowest rate to 1");
    const bool attainable = config.budget >= calibration_.fastest();
    const double rate =
        attainable ? calibration_.expected_at(calibration_.threshold_for_milliseconds(config.budget)).deletion_rate
                   : highest_;
    // A rate that the table does not have has the threshold of the nearest that it has: there the integral would move
    // on with nothing to show for it, and all the way back.
    lowest_ = std::clamp(lowest_, calibration_.lowest_rate(), calibration_.highest_rate());
    highest_ = std::clamp(highest_, calibration_.lowest_rate(), calibration_.highest_rate());
    rate_ = std::clamp(rate, lowest_, highest_);
  }

  /// Takes note of what `bytes` of source took in hard deletion at `threshold()`; returns the threshold to go on with.
  /// A measurement without bytes or of a time that is negative or not finite changes nothing.
  double update(Index bytes, double milliseconds) {
    if (bytes <= 0 || !std::isfinite(milliseconds) || milliseconds < 0) return threshold();
    const double kilobytes = static_cast<double>(bytes) / 1000;
    const double error = std::clamp(milliseconds / kilobytes / config_.budget - 1, -1.0, config_.largest_error);
    const double weight = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(config_.full_weight_bytes));
    rate_ = std::clamp(rate_ + config_.gain * weight * error, lowest_, highest_);
    return threshold();
  }

  /// For `DeletionOptions::threshold`.
  double threshold() const { return calibration_.threshold_for_rate(rate_); }

  /// The deletion rate asked for, in [0, 1].
  double rate() const { return rate_; }

  const Calibration& calibration() const { return calibration_; }
  const Config& config() const { return config_; }

 private:
  Calibration calibration_;
  Config config_;
  double lowest_, highest_, rate_ = 0.0;
};

}  // namespace merganser::evaluation
