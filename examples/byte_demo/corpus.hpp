// Examples for training and for evaluation, from a file or from a task that makes its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/data/batch_source.hpp>
#include <merganser/data/example.hpp>
#include <merganser/data/text_task.hpp>
#include <merganser/data/training_windows.hpp>

#include <options.hpp>
#include <train_settings.hpp>

namespace byte_demo {

namespace data = merganser::data;

inline constexpr Index default_text_window = 64;                // bytes
inline constexpr Index default_shortest_window = 16;            // bytes; of a text to train on
inline constexpr Index held_back_share = 10;                    // one part in so many is for evaluation
inline constexpr std::uint64_t evaluation_stream = 0x65766170;  // keeps evaluation apart from training, same seed

data::TextTaskMaker text_task(const DataOptions& options);

/// @throws std::invalid_argument if the shortest window is longer than the longest
data::TrainingWindows training_windows(const DataOptions& options, Index batch);

/// Size and checksum: tells files apart without keeping them.
std::string content_of(std::string_view text);

/// Marks about a tenth of the lines as held back for evaluation, by what they hold; see `data::held_out`.
/// @param path of their file, for the error
/// @throws merganser::IoError if there is none to hold back, or none to train on
std::vector<std::uint8_t> hold_back(const std::vector<std::string>& lines, const std::vector<std::string>& strata,
                                    const std::string& path);

/// At most so many, evenly from all.
std::vector<data::Example> spread(const std::vector<data::Example>& all, Index most);

/// Endless batches and a fixed set to evaluate on.
struct TrainingData {
  std::string description;
  Settings contents;  ///< "content of --text" and the like: size and checksum of each file
  data::BatchSource batches;
  std::vector<data::Example> validation;
  Index longest = 0;       ///< tokens of the longest sequence to train on
  Index batch_tokens = 0;  ///< that a batch has at least
};

/// Without `valid` a tenth is held back for evaluation: the end of a text, and of pairs those that `hold_back` chooses.
/// @param batch sequences of a batch
/// @param windows most examples of the evaluation
/// @throws merganser::IoError or std::invalid_argument if the options contradict each other or a file does not do
TrainingData open_training_data(const DataOptions& options, Index batch, Index windows, std::uint64_t seed);

/// At most `windows` examples spread evenly over a file, or as many freshly made ones. `seed` is that of the noise.
std::vector<data::Example> open_evaluation_data(const DataOptions& options, Index windows, std::uint64_t seed);

}  // namespace byte_demo
