// From the options of a training run to the settings of its trainer and the number of its steps.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>

#include <merganser/training/trainer.hpp>

#include <corpus.hpp>
#include <options.hpp>

namespace byte_demo {

/// The deletion rates that hard steps draw from: those given, in either order, or a tenth about the target. None where
/// the threshold decides: if asked for, if nothing learns, with several gates, each of which would delete a share, and
/// if every gated step is hard, as the controller has only the threshold to steer by.
/// @throws std::invalid_argument if every gated step is to go by rank
inline std::optional<training::RateRange> hard_rates(const TrainOptions& options) {
  constexpr double reach = 0.1;
  if (options.hard_by_threshold || options.model.gate != merge::GateKind::learned) return std::nullopt;
  const bool all_hard = options.hard_probability == 1;
  if (!options.hard_rates.empty()) {
    if (all_hard)
      throw std::invalid_argument(
          "--hard-rates needs a --hard-probability below 1: the controller steers by the other steps");
    const auto [lowest, highest] = std::minmax(options.hard_rates.at(0), options.hard_rates.at(1));
    return training::RateRange{lowest, highest};
  }
  if (options.model.gate_blocks.size() > 1 || all_hard) return std::nullopt;
  return training::RateRange{std::max(options.target - reach, 0.0), std::min(options.target + reach, 1.0)};
}

template <class Model>
typename training::Trainer<Model>::Config trainer_config(const TrainOptions& options, Index steps) {
  typename training::Trainer<Model>::Config config;
  config.seed = options.seed;
  config.optimizer.beta2 = 0.98;
  config.schedule.peak = options.learning_rate;
  config.schedule.warmup_steps = std::min(options.warmup, steps);
  config.schedule.total_steps = steps;
  config.schedule.decay = options.schedule;
  config.objective.score_penalty = options.score_penalty;
  constexpr Index longest_hold = 2000;
  config.deletion.gate_open_until = options.gate_open_until.value_or(std::min(longest_hold, steps * 2 / 5));
  config.deletion.regulariser_from = options.regulariser_from.value_or(config.deletion.gate_open_until);
  config.deletion.target_ramp = options.target_ramp.value_or(steps / 8);
  config.deletion.open_probability = options.open_probability;
  config.deletion.hard_probability = options.hard_probability;
  config.deletion.hard_rates = hard_rates(options);
  config.deletion.survivor_bias = options.survivor_bias;
  config.deletion.controller = {options.target, options.proportional_gain, options.integral_gain, options.controller,
                                1.0};
  if (!options.model.gate || options.model.pooling)  // no mode of deletion to choose
    config.deletion.open_probability = config.deletion.hard_probability = 0;
  if (options.model.gate != merge::GateKind::learned)  // nothing to steer
    config.deletion.controller.proportional_gain = config.deletion.controller.integral_gain = 0;
  return config;
}

/// Steps that fill the minutes, from the speed of a few gated steps on a copy of the model.
template <class Model>
Index steps_in_minutes(const Model& model, const TrainOptions& options, BatchSource batches, double minutes) {
  using Clock = std::chrono::steady_clock;
  constexpr Index unmeasured_steps = 2, probe_steps = 12;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Model copy = model;
  TrainOptions probed = options;
  probed.gate_open_until = 0;
  training::Trainer<Model> trainer(copy, trainer_config<Model>(probed, probe_steps));
  const auto start = Clock::now();
  trainer.run(unmeasured_steps, batches);
  const auto measured_from = Clock::now();
  trainer.run(probe_steps, batches);
  const double per_step = seconds_since(measured_from) / static_cast<double>(probe_steps);
  return std::max<Index>(1, static_cast<Index>((minutes * 60 - seconds_since(start)) / per_step));
}

}  // namespace byte_demo
