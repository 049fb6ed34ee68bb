// How a model with gates is trained: what was measured to work, and what the paper does.
#pragma once

#include <algorithm>
#include <optional>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/pi_controller.hpp>
#include <merganser/merge/tokens.hpp>
#include <merganser/training/learning_rate_schedule.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// A training run but for its data, its length and its seed. The defaults are the recipe that works at CPU scale
/// (docs/training.md has what each of them is worth): the gate comes in when the model copies, a tenth of the later
/// batches goes without it, half of those with it delete hard, a share of the tokens about the target, and a controller
/// pulls both ways. They go with models whose scores are bounded and whose gates start open.
struct Recipe {
  Index batch_size = 32;  ///< sequences

  double learning_rate = 3e-3;  ///< at its peak
  Index warmup_steps = 200;
  Decay decay = Decay::linear;
  double beta2 = 0.98;  ///< of AdamW

  std::optional<double> target;           ///< deletion rate; if empty that of a gate which does not learn, else 0.3
  std::optional<Index> gate_open_until;   ///< step; if empty 2,000, or 40 % of a shorter run
  std::optional<Index> regulariser_from;  ///< step; if empty at once when the gate is applied
  std::optional<Index> target_ramp;  ///< steps from there in which the target rises from 0; if empty an eighth of all
  double proportional_gain = 0.5, integral_gain = 5e-3;
  merge::ControllerRange controller = merge::ControllerRange::two_sided;
  double score_penalty = 0.0;
  double open_probability = 0.1;
  double hard_probability = 0.5;
  std::optional<RateRange> hard_rates;  ///< of hard steps; if empty a tenth about the target
  bool hard_by_threshold = false;       ///< hard steps delete what the threshold says instead
  merge::SurvivorBias survivor_bias = merge::SurvivorBias::kept;

  /// As MrT5 is trained (Kallini et al. 2025, arXiv 2410.20771, section 3): the gate from the first step
  /// on, softly in every batch, steered by a controller that only pushes towards deletion.
  static Recipe mrt5() {
    Recipe recipe;
    recipe.gate_open_until = recipe.regulariser_from = recipe.target_ramp = 0;
    recipe.proportional_gain = 0.5;
    recipe.integral_gain = 1e-5;
    recipe.controller = merge::ControllerRange::non_negative;
    recipe.open_probability = recipe.hard_probability = 0;
    return recipe;
  }
};

inline constexpr double default_target = 0.3;

/// What the gates of a model are to a trainer.
struct GateSummary {
  Index count = 0;
  bool learns = false;                  ///< one of them at least
  std::optional<double> expected_rate;  ///< of those that do not learn, the first that says one
};

/// Looks at `model.encoder.policies`, which are placements.
template <class Model>
GateSummary gates_of(const Model& model) {
  GateSummary summary;
  for (const auto& placement : model.encoder.policies) {
    const merge::PolicyTraits traits = placement.policy.traits();
    if (!traits.is_gate) continue;
    ++summary.count;
    summary.learns = summary.learns || !traits.is_training_free;
    if (traits.is_training_free && !summary.expected_rate) summary.expected_rate = placement.policy.expected_rate();
  }
  return summary;
}

/// The deletion rate to reach.
template <class Model>
double target_rate(const Recipe& recipe, const Model& model) {
  const GateSummary gates = gates_of(model);
  return recipe.target.value_or(gates.learns ? default_target : gates.expected_rate.value_or(default_target));
}

/// @throws std::invalid_argument if every gated step is to go by rank: nothing would be left to steer by
inline void check_hard_rates(const Recipe& recipe) {
  check_argument(!recipe.hard_rates || recipe.hard_by_threshold || recipe.hard_probability != 1, "Recipe",
                 "hard_probability", recipe.hard_probability,
                 "less than 1 with hard_rates, as the controller steers by the other steps");
}

/// The deletion rates that hard steps draw from. None where the threshold decides: if asked for, if nothing learns,
/// with several gates (nobody has tried), and if every gated step is hard, as the controller has only
/// the threshold to steer by.
/// @throws std::invalid_argument as `check_hard_rates`
template <class Model>
std::optional<RateRange> hard_rates(const Recipe& recipe, const Model& model) {
  constexpr double reach = 0.1;
  const GateSummary gates = gates_of(model);
  if (recipe.hard_by_threshold || !gates.learns) return std::nullopt;
  check_hard_rates(recipe);
  if (recipe.hard_rates) return recipe.hard_rates;
  if (gates.count > 1 || recipe.hard_probability == 1) return std::nullopt;
  const double target = target_rate(recipe, model);
  return RateRange{std::max(target - reach, 0.0), std::min(target + reach, 1.0)};
}

/// The settings of a trainer for a run of so many steps. Of a model without gates no batch chooses a mode of deletion,
/// and where no gate learns nothing is steered.
/// @throws std::invalid_argument as `check_hard_rates`
template <class Model>
typename Trainer<Model>::Config trainer_config(const Recipe& recipe, const Model& model, Index steps,
                                               std::uint64_t seed) {
  constexpr Index longest_hold = 2000;
  typename Trainer<Model>::Config config;
  config.seed = seed;
  config.optimizer.beta2 = recipe.beta2;
  config.schedule.peak = recipe.learning_rate;
  config.schedule.warmup_steps = std::min(recipe.warmup_steps, steps);
  config.schedule.total_steps = steps;
  config.schedule.decay = recipe.decay;
  config.objective.score_penalty = recipe.score_penalty;
  DeletionSchedule& deletion = config.deletion;
  deletion.gate_open_until = recipe.gate_open_until.value_or(std::min(longest_hold, steps * 2 / 5));
  deletion.regulariser_from = recipe.regulariser_from.value_or(deletion.gate_open_until);
  deletion.target_ramp = recipe.target_ramp.value_or(steps / 8);
  deletion.open_probability = recipe.open_probability;
  deletion.hard_probability = recipe.hard_probability;
  deletion.hard_rates = hard_rates(recipe, model);
  deletion.survivor_bias = recipe.survivor_bias;
  deletion.controller = {target_rate(recipe, model), recipe.proportional_gain, recipe.integral_gain, recipe.controller,
                         1.0};
  const GateSummary gates = gates_of(model);
  if (gates.count == 0) deletion.open_probability = deletion.hard_probability = 0;
  if (!gates.learns) deletion.controller.proportional_gain = deletion.controller.integral_gain = 0;
  return config;
}

}  // namespace merganser::training
