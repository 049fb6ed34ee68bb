// One training run with progress and log, for `train` and for `vowels`.
#pragma once

#include <checkpoints.hpp>
#include <corpus.hpp>
#include <model.hpp>
#include <options.hpp>
#include <run_log.hpp>

namespace byte_demo {

struct TrainingSummary {
  Index steps = 0;  ///< with those before the run was resumed, as the seconds
  double seconds = 0.0;
};

/// Trains for `steps` steps, or until a tenth more than the minutes, if any were given, are over.
/// @param checkpoints where the run is saved and maybe resumed; null: nowhere
/// @throws std::runtime_error if loss or gradient stay infinite
TrainingSummary run_training(Model& model, const TrainOptions& options, Index steps, TrainingData& data, RunLog& log,
                             Checkpoints* checkpoints = nullptr);

}  // namespace byte_demo
