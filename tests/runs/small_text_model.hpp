// Options of a model and a run that take a moment.
#pragma once

#include <merganser/runs/run_options.hpp>

namespace merganser::testing {

inline runs::TrainOptions small_run() {
  runs::TrainOptions options;
  options.data.task = "copy";
  options.data.window = 6;
  options.model.width = options.model.feed_forward = 16;
  options.model.heads = 2;
  options.model.head_width = 8;
  options.model.encoder_blocks = 2;
  options.recipe.batch_size = 3;
  options.steps = 6;
  options.recipe.gate_open_until = 2;
  options.windows = 4;
  return options;
}

}  // namespace merganser::testing
