// Examples for training and for evaluation, from a file or from a task that makes its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <merganser/data/data_cursor.hpp>
#include <merganser/data/example.hpp>

#include <options.hpp>
#include <train_settings.hpp>

namespace byte_demo {

namespace data = merganser::data;

/// Endless batches. A value: a copy goes on by itself.
struct BatchSource {
  std::function<data::Batch(data::DataCursor&)> draw;  ///< the batch at the cursor, which it moves on
  data::DataCursor cursor;

  data::Batch operator()() { return draw(cursor); }
};

/// Endless batches and a fixed set to evaluate on.
struct TrainingData {
  std::string description;
  Settings contents;  ///< "content of --text" and the like: size and checksum of each file
  BatchSource batches;
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
