// What a call asks of deletion: soft, hard or none, how much, and which of the reference's quirks.
#pragma once

#include <cmath>
#include <optional>

#include <merganser/core/check.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What gates do in a forward pass.
enum class DeletionMode {
  none,        ///< gates are not applied: the model reads everything
  soft,        ///< the gate value of each key is added to its scores from here on
  hard,        ///< tokens at or below the threshold are removed
  everything,  ///< the control: the decoder or pooling sees no token at all
};

/// Whether hard deletion leaves the gate value of a survivor on its key.
enum class SurvivorBias {
  kept,     ///< hard differs from soft only by the removed tokens, each of which weighs at most e^threshold
  dropped,  ///< the reference
};

/// Which position a survivor has for the position bias.
enum class PositionsAfterDeletion {
  original,
  renumbered_at_block_0,  ///< the reference: a gate on entry to block 0 makes the survivors count from 0
};

/// Which token of a non-empty sequence stays when all are at or below the threshold.
enum class FullyDeletedSequence {
  keep_highest_gate,
  keep_first,  ///< the reference: position 0
};

/// What stands behind the survivors of shorter sequences.
enum class Filler {
  none,
  pad_to_longest,  ///< the reference: weightless copies of the first token, as many as the longest sequence needs
};

/// Over what the fixed-rule gate counts its segments.
enum class FixedRuleScope {
  sequence,
  batch,  ///< the reference: segment lengths are counted over all sequences together, one mask serves all
};

/// What an encoder makes of pads, its forced tokens.
enum class Pads {
  left_out,   ///< nobody looks at them, they count in no budget and never survive: padded is as good as ragged
  as_tokens,  ///< the reference: seen where nobody hides them; gates give them the value `scale` and treat it as any
};

/// What a pooling makes of pads.
enum class PooledPads {
  left_out,  ///< a sequence is pooled as if it had none
  pooled,    ///< the reference: pads are pooled like tokens, and poolings fill up to the longest sequence
};

/// The settings of one call. A default-made value is hard deletion with the trained threshold.
struct DeletionOptions {
  DeletionMode mode = DeletionMode::hard;
  /// A gate value; overrides every gate's own: tokens above it are kept, so that each text has a rate of its own. One
  /// from `evaluation::Calibration` has a rate asked for in expectation over texts.
  std::optional<double> threshold;
  std::optional<double>
      target_rate;  ///< in [0, 1]; overrides thresholds: each gate deletes this share of its sequence's tokens
  SurvivorBias survivor_bias = SurvivorBias::kept;
  PositionsAfterDeletion positions = PositionsAfterDeletion::original;
  FullyDeletedSequence fully_deleted = FullyDeletedSequence::keep_highest_gate;
  Filler filler = Filler::none;
  FixedRuleScope fixed_rule_scope = FixedRuleScope::sequence;
  Pads pads = Pads::left_out;
  PooledPads pooled_pads = PooledPads::left_out;

  static DeletionOptions with_mode(DeletionMode mode) {
    DeletionOptions options;
    options.mode = mode;
    return options;
  }

  /// Everything as the published implementation does it.
  static DeletionOptions reference(DeletionMode mode) {
    DeletionOptions options;
    options.mode = mode;
    options.survivor_bias = SurvivorBias::dropped;
    options.positions = PositionsAfterDeletion::renumbered_at_block_0;
    options.fully_deleted = FullyDeletedSequence::keep_first;
    options.filler = Filler::pad_to_longest;
    options.fixed_rule_scope = FixedRuleScope::batch;
    options.pads = Pads::as_tokens;
    options.pooled_pads = PooledPads::pooled;
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
