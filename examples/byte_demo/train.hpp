// One training run of the demo, for `train` and for `vowels`.
#pragma once

#include <string>

#include <merganser/runs/resumed_run.hpp>
#include <merganser/runs/run_log.hpp>
#include <merganser/runs/training_data.hpp>
#include <merganser/runs/training_run.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

/// Trains for `steps` steps, or until a tenth more than the minutes, if any were given, are over. Ctrl-C or SIGTERM
/// ends it behind the step that is on.
/// @param checkpoints where the run is saved and maybe resumed; null: nowhere
/// @throws std::runtime_error if loss or gradient stay infinite
runs::RunSummary train_model(Model& model, const runs::TrainOptions& options, Index steps, runs::TrainingData& data,
                             runs::RunLog& log, runs::RunCheckpointing* checkpoints = nullptr);

/// What to tell somebody whose signal ended a run: what is saved, and how it goes on.
std::string how_to_go_on(const runs::TrainOptions& options, Index step, Index steps);

}  // namespace byte_demo
