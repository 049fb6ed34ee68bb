// When gates come into training, and how they are steered.
#pragma once

#include <cmath>
#include <optional>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/pi_controller.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// Deletion rates from `lowest` to `highest`, both in [0, 1].
struct RateRange {
  double lowest = 0.0, highest = 1.0;
};

/// When gates come in and how they are steered. The defaults are the paper's; docs/training.md has what works better
/// at CPU scale: a gate once the model copies, half of the gated batches hard, with `hard_rates` about the target.
struct DeletionSchedule {
  Index gate_open_until = 0;      ///< steps during which no gate is applied, so that attention learns to copy first
  Index regulariser_from = 0;     ///< step from which the controller steers alpha; before, alpha is 0
  Index target_ramp = 0;          ///< steps from there in which the target rises from 0 to that of the controller
  double open_probability = 0.0;  ///< share of the later batches without the gate, so that both ways stay learned
  double hard_probability = 0.0;  ///< share of the gated batches that train with hard deletion, in [0, 1]
  merge::SurvivorBias survivor_bias = merge::SurvivorBias::kept;  ///< of hard batches
  /// If given, a hard batch deletes the tokens of lowest gate value, of every sequence a share that is drawn from this
  /// range for the batch (all gates of a stack together). The threshold has no part in that, so nobody steers by it;
  /// some gated batches must be left for that, unless both gains are 0.
  std::optional<RateRange> hard_rates;
  /// The all-deleted control: no batch reads its source (`DeletionMode::everything`), whatever stands above, so that
  /// the model learns what can be known without it. Nobody steers.
  bool without_source = false;
  merge::PiController::Config controller;
  double collapse_rate = 0.95;  ///< more than this share deleted of all tokens but one a sequence, which stays, ...
  Index collapse_steps = 100;   ///< ... for so many steps in a row is a collapse

  /// @throws std::invalid_argument naming `function` if a setting is out of range
  void check(std::string_view function) const {
    check_argument(std::isfinite(collapse_rate), function, "deletion.collapse_rate", collapse_rate, "a finite number");
    check_argument(collapse_steps >= 1, function, "deletion.collapse_steps", collapse_steps, "at least 1");
    check_argument(target_ramp >= 0, function, "deletion.target_ramp", target_ramp, "at least 0");
    check_argument(open_probability >= 0 && open_probability <= 1, function, "deletion.open_probability",
                   open_probability, "in [0, 1]");
    check_argument(hard_probability >= 0 && hard_probability <= 1, function, "deletion.hard_probability",
                   hard_probability, "in [0, 1]");
    if (!hard_rates) return;
    check_argument(hard_rates->lowest >= 0 && hard_rates->lowest <= hard_rates->highest, function,
                   "deletion.hard_rates.lowest", hard_rates->lowest, "at least 0 and no more than the highest");
    check_argument(hard_rates->highest <= 1, function, "deletion.hard_rates.highest", hard_rates->highest, "at most 1");
    const bool steers = controller.proportional_gain != 0 || controller.integral_gain != 0;
    check_argument(hard_probability < 1 || !steers, function, "deletion.hard_probability", hard_probability,
                   "less than 1 with hard_rates, as the controller steers by the other batches");
  }

  /// How a batch of a step, counted from 0, deletes: not, softly or hard, at a rate of its own or by the threshold; in
  /// the control everything.
  merge::DeletionOptions draw_options(Index step, Rng& rng) const {
    merge::DeletionOptions options;
    options.mode = draw_mode(step, rng);
    options.survivor_bias = survivor_bias;
    if (hard_rates && options.mode == merge::DeletionMode::hard)
      options.target_rate = hard_rates->lowest + (hard_rates->highest - hard_rates->lowest) * rng.uniform();
    return options;
  }

  /// The deletion rate to steer to in a step from `regulariser_from` on.
  double target_in(Index step) const {
    const Index since = step - regulariser_from + 1;
    if (since >= target_ramp) return controller.target;
    return controller.target * static_cast<double>(since) / static_cast<double>(target_ramp);
  }

 private:
  merge::DeletionMode draw_mode(Index step, Rng& rng) const {
    if (without_source) return merge::DeletionMode::everything;
    if (step < gate_open_until) return merge::DeletionMode::none;
    if (open_probability > 0 && rng.bernoulli(open_probability)) return merge::DeletionMode::none;
    if (hard_probability > 0 && rng.bernoulli(hard_probability)) return merge::DeletionMode::hard;
    return merge::DeletionMode::soft;
  }
};

}  // namespace merganser::training
