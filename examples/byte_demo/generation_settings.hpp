// How byte_demo generate writes: what the command line asks for, and what the model's own file wishes besides.
#pragma once

#include <optional>

#include <merganser/models/beam_search.hpp>
#include <merganser/models/generation.hpp>

#include <model.hpp>

namespace byte_demo {

struct GenerationSettings {
  models::GenerationOptions generation;            ///< token by token
  std::optional<models::BeamSearchOptions> beams;  ///< a search instead, if there is a value
};

/// The options win over generation_config.json in the directory of the model; where neither says anything, an answer
/// is greedy and has at most `usual_length` tokens. As in Hugging Face, drawing takes the best 50 unless the file that
/// asks for it says how many, and max_new_tokens wins over max_length.
/// @throws merganser::IoError if the file is damaged, or wishes what is not to be had
/// @throws std::invalid_argument if a length penalty is asked for and nothing is searched
GenerationSettings generation_settings(const GenerateOptions& options, const Model& model, Index usual_length);

}  // namespace byte_demo
