// What a call asks of the policies of a model: soft, hard or no deletion, and how much.
#pragma once

#include <cmath>
#include <optional>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What policies do in a forward pass. Structural ones, without which a model does not work, act in every mode.
enum class DeletionMode {
  none,        ///< nothing: the model reads everything
  soft,        ///< the gate value of each key is added to its scores from here on; policies that are no gates act
  hard,        ///< tokens at or below a gate's threshold are removed; all policies act
  everything,  ///< the control: the decoder or pooling sees no token at all
};

/// Whether hard deletion leaves the gate value of a survivor on its key.
enum class SurvivorBias {
  kept,     ///< hard differs from soft only by the removed tokens, each of which weighs at most e^threshold
  dropped,  ///< the reference
};

/// The settings of one call. A default-made value is hard deletion with the trained threshold.
struct DeletionOptions {
  DeletionMode mode = DeletionMode::hard;
  /// A gate value; overrides every gate's own: tokens above it are kept, so that each text has a rate of its own. One
  /// from `evaluation::Calibration` has a rate asked for in expectation over texts.
  std::optional<double> threshold;
  /// In [0, 1]; overrides thresholds and what policies would remove by their own settings: the share of the tokens of
  /// every sequence that all of them together remove. See StackBudget.
  std::optional<double> target_rate;
  SurvivorBias survivor_bias = SurvivorBias::kept;
  /// [T] or empty: decided elsewhere, in place of what gates would say: near 0 keeps, a gate's scale (-30) deletes. The
  /// first gate of the model takes them, later ones say nothing; `GivenGate` gives any model a place for them. They
  /// outlive the call. See `keep_mask_values`.
  std::span<const double> gate_values = {};
  /// [N] or empty: what each sequence belongs to, such as its language, counted from 0; read by policies whose settings
  /// hang on it. They outlive the call.
  std::span<const Index> labels = {};

  static DeletionOptions with_mode(DeletionMode mode) {
    DeletionOptions options;
    options.mode = mode;
    return options;
  }

  /// @throws std::invalid_argument if the target rate is outside [0, 1], the threshold is no number or both are given
  void check() const {
    if (threshold)
      check_argument(!std::isnan(*threshold), "DeletionOptions", "threshold", *threshold, "a gate value, no NaN");
    if (target_rate)
      check_argument(*target_rate >= 0 && *target_rate <= 1, "DeletionOptions", "target_rate", *target_rate,
                     "a rate in [0, 1]");
    check_argument(!(threshold && target_rate), "DeletionOptions", "threshold and target_rate", "both",
                   "at most one of them");
  }
};

}  // namespace merganser::merge
