// Examples for training and for evaluation, from a file or from a task that makes its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <merganser/data/example.hpp>

#include <options.hpp>

namespace byte_demo {

namespace data = merganser::data;

/// Endless batches and a fixed set to evaluate on.
struct TrainingData {
  std::string description;
  std::function<data::Batch()> next_batch;  ///< a value: a copy goes on by itself
  std::vector<data::Example> validation;
};

/// Without `valid`, the last tenth of a file is held back for evaluation.
/// @param batch sequences of a batch
/// @param windows most examples of the evaluation
/// @throws merganser::IoError or std::invalid_argument if the options contradict each other or a file does not do
TrainingData open_training_data(const DataOptions& options, Index batch, Index windows, std::uint64_t seed);

/// At most `windows` examples spread evenly over a file, or as many freshly made ones. `seed` is that of the noise.
std::vector<data::Example> open_evaluation_data(const DataOptions& options, Index windows, std::uint64_t seed);

}  // namespace byte_demo
