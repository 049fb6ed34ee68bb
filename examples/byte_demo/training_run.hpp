// One training run with progress and log, for `train` and for `vowels`.
#pragma once

#include <string>

#include <checkpoints.hpp>
#include <corpus.hpp>
#include <model.hpp>
#include <options.hpp>
#include <run_log.hpp>

namespace byte_demo {

struct TrainingSummary {
  Index steps = 0;  ///< with those before the run was resumed, as the seconds
  double seconds = 0.0;
  int signal = 0;  ///< that ended it before its time; 0: none
};

/// What to tell somebody whose signal ended a run: what is saved, and how it goes on.
std::string how_to_go_on(const TrainOptions& options, Index step, Index steps);

/// Trains for `steps` steps, or until a tenth more than the minutes, if any were given, are over. Ctrl-C or SIGTERM
/// ends it behind the step that is on, with a checkpoint.
/// @param checkpoints where the run is saved and maybe resumed; null: nowhere
/// @throws std::runtime_error if loss or gradient stay infinite
TrainingSummary run_training(Model& model, const TrainOptions& options, Index steps, TrainingData& data, RunLog& log,
                             Checkpoints* checkpoints = nullptr);

}  // namespace byte_demo
