// The constants of byte_demo vowels: vowel removal, learned within 3 minutes on 2 cores.
#pragma once

#include <options.hpp>

namespace byte_demo {

struct VowelRecipe {
  static constexpr const char* task = "vowel_removal";
  Index letters = 32;  ///< of a sequence, behind its '#' and before its end
  Index steps = 2500;

  /// 0.48 M parameters.
  ModelOptions model = {.width = 96,
                        .heads = 4,
                        .head_width = 24,
                        .feed_forward = 192,
                        .encoder_blocks = 3,
                        .decoder_blocks = 1,
                        .gate_blocks = {1},
                        .gate = GateChoice::learned,
                        .pooling = {},
                        .score_bound = nn::ScoreBoundKind::soft_cap,
                        .score_bound_value = 8.0,
                        .gate_noise = {},
                        .start_from = {}};

  Index windows = 512;  ///< sequences of the evaluation
  Index samples = 6;    ///< lines shown at the end

  /// 10 of 52 letters are vowels; '#' and the end of sequence are none.
  double vowel_share() const { return 10.0 / 52.0 * static_cast<double>(letters) / static_cast<double>(letters + 2); }

  TrainOptions train_options(const VowelOptions& asked) const {
    TrainOptions options;
    options.data.task = task;
    options.data.window = letters;
    options.model = model;
    options.steps = asked.steps.value_or(steps);
    options.seed = asked.seed;
    options.threads = asked.threads;
    training::Recipe& recipe = options.recipe;
    recipe.target = vowel_share();
    recipe.gate_open_until = recipe.regulariser_from = 1000;  // attention learns to copy first
    recipe.target_ramp = 0;
    recipe.proportional_gain = 1.0;
    recipe.integral_gain = 1e-4;
    recipe.hard_probability = 0.0;
    options.windows = windows;
    options.save = asked.save;
    return options;
  }
};

}  // namespace byte_demo
