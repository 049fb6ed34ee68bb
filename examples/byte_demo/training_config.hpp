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

/// Of the gates of a model, which are all of one kind; empty: it has none.
template <class Model>
std::optional<merge::GateKind> gate_kind(const Model& model) {
  const auto& gates = model.encoder.gates;
  return gates.empty() ? std::nullopt : std::optional(gates.front().config().kind);
}

/// The deletion rate to reach: the one asked for, else that of gates that do not learn, else the default.
template <class Model>
double target_rate(const TrainOptions& options, const Model& model) {
  const auto kind = gate_kind(model);
  const bool ruled = kind && *kind != merge::GateKind::learned;
  return options.target.value_or(ruled ? model.encoder.gates.front().config().rate : default_target);
}

/// @throws std::invalid_argument if every gated step is to go by rank
inline void check_hard_rates(const TrainOptions& options) {
  if (!options.hard_rates.empty() && !options.hard_by_threshold && options.hard_probability == 1)
    throw std::invalid_argument(
        "--hard-rates needs a --hard-probability below 1: the controller steers by the other steps");
}

/// The deletion rates that hard steps draw from: those given, in either order, or a tenth about the target. None where
/// the threshold decides: if asked for, if nothing learns, with several gates, each of which would delete a share, and
/// if every gated step is hard, as the controller has only the threshold to steer by.
/// @throws std::invalid_argument as `check_hard_rates`
template <class Model>
std::optional<training::RateRange> hard_rates(const TrainOptions& options, const Model& model) {
  constexpr double reach = 0.1;
  if (options.hard_by_threshold || gate_kind(model) != merge::GateKind::learned) return std::nullopt;
  check_hard_rates(options);
  if (!options.hard_rates.empty()) {
    const auto [lowest, highest] = std::minmax(options.hard_rates.at(0), options.hard_rates.at(1));
    return training::RateRange{lowest, highest};
  }
  if (model.encoder.gates.size() > 1 || options.hard_probability == 1) return std::nullopt;
  const double target = target_rate(options, model);
  return training::RateRange{std::max(target - reach, 0.0), std::min(target + reach, 1.0)};
}

template <class Model>
typename training::Trainer<Model>::Config trainer_config(const TrainOptions& options, const Model& model, Index steps) {
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
  config.deletion.hard_rates = hard_rates(options, model);
  config.deletion.survivor_bias = options.survivor_bias;
  config.deletion.controller = {target_rate(options, model), options.proportional_gain, options.integral_gain,
                                options.controller, 1.0};
  const auto kind = gate_kind(model);
  if (!kind)  // no mode of deletion to choose
    config.deletion.open_probability = config.deletion.hard_probability = 0;
  if (kind != merge::GateKind::learned)  // nothing to steer
    config.deletion.controller.proportional_gain = config.deletion.controller.integral_gain = 0;
  return config;
}

/// Steps that fill the minutes, from the speed of a few gated steps on a copy of the model.
template <class Model>
Index steps_in_minutes(const Model& model, const TrainOptions& options, data::BatchSource batches, double minutes) {
  using Clock = std::chrono::steady_clock;
  constexpr Index unmeasured_steps = 2, probe_steps = 12;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Model copy = model;
  TrainOptions probed = options;
  probed.gate_open_until = 0;
  training::Trainer<Model> trainer(copy, trainer_config(probed, model, probe_steps));
  const auto start = Clock::now();
  trainer.run(unmeasured_steps, batches);
  const auto measured_from = Clock::now();
  trainer.run(probe_steps, batches);
  const double per_step = seconds_since(measured_from) / static_cast<double>(probe_steps);
  return std::max<Index>(1, static_cast<Index>((minutes * 60 - seconds_since(start)) / per_step));
}

}  // namespace byte_demo
