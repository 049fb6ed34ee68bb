// How the learning rate rises and falls.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::training {

enum class Decay {
  constant,
  linear,               ///< to the floor at the last step
  cosine,               ///< half a wave to the floor at the last step
  inverse_square_root,  ///< peak * sqrt(warm-up / step)
};

/// Linear warm-up from 0 over `warmup_steps`, then a decay. Steps count from 0: with warm-up w and m steps in all, step
/// k has peak k / w for k < w, and for linear decay peak (m - k) / (m - w) from then on.
class LearningRateSchedule {
 public:
  struct Config {
    double peak = 1e-3;
    Index warmup_steps = 0;
    Index total_steps = 1000;  ///< for linear and cosine; the floor holds after it
    Decay decay = Decay::linear;
    double floor = 0.0;  ///< lowest rate of linear and cosine
  };

  LearningRateSchedule() = default;

  /// @throws std::invalid_argument if the peak is not positive or the floor above it, or the warm-up is longer than the
  /// run
  explicit LearningRateSchedule(const Config& config) : config_(config) {
    const char* where = "LearningRateSchedule";
    check_argument(config.peak > 0 && std::isfinite(config.peak), where, "peak", config.peak, "a positive number");
    check_argument(config.floor >= 0 && config.floor <= config.peak, where, "floor", config.floor, "in [0, peak]");
    check_argument(config.warmup_steps >= 0, where, "warmup_steps", config.warmup_steps, "at least 0");
    check_argument(config.total_steps >= config.warmup_steps, where, "total_steps", config.total_steps,
                   "at least the warm-up steps");
  }

  /// The learning rate of a step.
  double rate(Index step) const {
    const auto k = static_cast<double>(step), w = static_cast<double>(config_.warmup_steps);
    if (step < config_.warmup_steps) return config_.peak * k / w;
    if (config_.decay == Decay::constant) return config_.peak;
    if (config_.decay == Decay::inverse_square_root)
      return config_.peak * std::sqrt(std::max(w, 1.0) / std::max(k, 1.0));
    const auto m = static_cast<double>(config_.total_steps);
    const double left = m > w ? std::clamp((m - k) / (m - w), 0.0, 1.0) : 0.0;
    const double share = config_.decay == Decay::linear ? left : 0.5 * (1 - std::cos(std::numbers::pi * left));
    return std::max(config_.floor, config_.decay == Decay::linear
                                       ? config_.peak * share
                                       : config_.floor + (config_.peak - config_.floor) * share);
  }

  const Config& config() const { return config_; }

 private:
  Config config_;
};

}  // namespace merganser::training
