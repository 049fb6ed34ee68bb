// The controller that steers the weight of the gate regulariser towards a deletion rate.
#pragma once

#include <algorithm>
#include <cmath>

#include <merganser/core/check.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Whether the controller may also push gates open.
enum class ControllerRange {
  non_negative,  ///< alpha = max(0, p + i), the reference; the sums themselves are not clamped
  two_sided,     ///< alpha in [-limit, limit]; the integral stands still while alpha is at a limit it would pass
};

/// alpha = p + i, with p = 0.9 p + 0.1 k_p e, i = i + k_i e and e = target - measured rate.
///
/// alpha weights a regulariser that falls as more is deleted: too little deletion raises alpha. A value type; usable
/// alone. Kallini et al. 2025, arXiv 2410.20771, section 3.2.
class PiController {
 public:
  struct Config {
    double target = 0.5;             ///< deletion rate in [0, 1]
    double proportional_gain = 0.5;  ///< k_p
    double integral_gain = 1e-5;     ///< k_i, a step; runs of some thousand steps want 1e-4 to 1e-3
    ControllerRange range = ControllerRange::non_negative;
    double limit = 1.0;  ///< largest |alpha| when two-sided
  };

  /// The memory of the controller.
  struct State {
    double proportional = 0.0;
    double integral = 0.0;
  };

  PiController() = default;

  /// @throws std::invalid_argument if the target is outside [0, 1], a gain negative or not finite, or the limit not
  /// positive
  explicit PiController(const Config& config) : config_(config) {
    check_argument(config.target >= 0 && config.target <= 1, "PiController", "target", config.target, "in [0, 1]");
    check_argument(config.proportional_gain >= 0 && std::isfinite(config.proportional_gain), "PiController",
                   "proportional_gain", config.proportional_gain, "at least 0");
    check_argument(config.integral_gain >= 0 && std::isfinite(config.integral_gain), "PiController", "integral_gain",
                   config.integral_gain, "at least 0");
    check_argument(config.limit > 0, "PiController", "limit", config.limit, "a positive number");
  }

  /// Takes the deletion rate measured in this step, in [0, 1]; returns the alpha of the next.
  double update(double measured_rate) { return update(measured_rate, config_.target); }

  /// The same with a target of this step alone, in [0, 1].
  /// @throws std::invalid_argument if one of them is not finite; nothing changes then
  double update(double measured_rate, double target) {
    const double error = target - measured_rate;
    check_argument(std::isfinite(error), "PiController::update", "target - measured_rate", error, "a finite number");
    state_.proportional = 0.9 * state_.proportional + 0.1 * config_.proportional_gain * error;
    const double before = state_.integral;
    state_.integral += config_.integral_gain * error;
    if (config_.range == ControllerRange::two_sided) {
      const double wanted = state_.proportional + state_.integral;
      if ((wanted > config_.limit && error > 0) || (wanted < -config_.limit && error < 0)) state_.integral = before;
    }
    return alpha();
  }

  /// The weight of the regulariser.
  double alpha() const {
    const double sum = state_.proportional + state_.integral;
    return config_.range == ControllerRange::non_negative ? std::max(0.0, sum)
                                                          : std::clamp(sum, -config_.limit, config_.limit);
  }

  const Config& config() const { return config_; }
  const State& state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

 private:
  Config config_;
  State state_;
};

}  // namespace merganser::merge
