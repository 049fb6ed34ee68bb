// The checkpoints of `train`.
#pragma once

#include <optional>
#include <string>

#include <merganser/io/run_checkpoints.hpp>

#include <model.hpp>
#include <options.hpp>
#include <train_settings.hpp>

namespace byte_demo {

namespace io = merganser::io;

/// Where a run is saved, and what it goes on from.
struct Checkpoints {
  io::RunCheckpoints<Model> saved;
  std::optional<io::NewestCheckpoint> resumed;
};

/// @param settings what the checkpoints remember besides
/// @throws merganser::IoError if the directory cannot be written to
/// @throws std::invalid_argument if a new run finds checkpoints, a resumed one none or other files
Checkpoints open_checkpoints(const TrainOptions& options, Settings settings);

}  // namespace byte_demo
