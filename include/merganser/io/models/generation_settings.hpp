// How a model generates: what a caller asks for, and what the model's generation_config.json wishes besides.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/generation_config.hpp>
#include <merganser/models/beam_search.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sampling.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What is empty is as the file says.
struct GenerationRequest {
  std::optional<models::Sampling> sampling;  ///< greedy: neither drawn nor searched
  std::optional<double> temperature;         ///< this and the next two ask for drawing
  std::optional<Index> top_k;                ///< 0: all
  std::optional<double> top_p;
  std::optional<Index> beams;            ///< asks for a search
  std::optional<double> length_penalty;  ///< of a search; nothing to others
  std::optional<Index> max_length;       ///< tokens, the start id included
  std::uint64_t seed = 1;                ///< of the draws
};

struct GenerationSettings {
  models::GenerationOptions generation;            ///< token by token
  std::optional<models::BeamSearchOptions> beams;  ///< a search instead, if there is a value
};

namespace detail {

inline constexpr Index longest_wish = 1'000'000;  // of a file, in tokens
inline constexpr Index hugging_face_top_k = 50;   // where do_sample is true and top_k is missing

enum class GenerationMethod { greedy, draw, search };

inline GenerationMethod generation_method(const GenerationRequest& asked, const GenerationConfig& wished,
                                          const std::string& file) {
  using enum GenerationMethod;
  if (asked.sampling) return *asked.sampling == models::Sampling::greedy ? greedy : draw;
  if (asked.beams) return search;
  if (asked.temperature || asked.top_k || asked.top_p) return draw;
  const bool searches = wished.num_beams.value_or(1) > 1, draws = wished.do_sample.value_or(false);
  if (searches && draws && !asked.length_penalty)
    throw IoError(file, "num_beams", *wished.num_beams,
                  "1 where do_sample is true, as beams draw nothing here (or --greedy, --beams or --temperature)");
  if (searches) return search;
  return draws ? draw : greedy;
}

/// The first that has a value.
template <class Value>
Value first_of(const std::optional<Value>& asked, const std::optional<Value>& wished, Value otherwise) {
  return asked ? *asked : wished.value_or(otherwise);
}

inline models::SamplingOptions drawing(const GenerationRequest& asked, const GenerationConfig& wished,
                                       const std::string& file) {
  models::SamplingOptions sampling;
  sampling.method = models::Sampling::random;
  sampling.temperature = first_of(asked.temperature, wished.temperature, sampling.temperature);
  sampling.top_k =
      first_of(asked.top_k, wished.top_k, wished.do_sample.value_or(false) ? hugging_face_top_k : sampling.top_k);
  sampling.top_p = first_of(asked.top_p, wished.top_p, sampling.top_p);
  if (!asked.temperature && !(sampling.temperature > 0))
    throw IoError(file, "temperature", 0, "a positive number to draw with");
  if (!asked.top_p && !(sampling.top_p > 0)) throw IoError(file, "top_p", 0, "a number above 0 to draw with");
  return sampling;
}

}  // namespace detail

/// The request wins over generation_config.json in the directory of the model; where neither says anything, an answer
/// is greedy and has at most `usual_length` tokens, or as many as the model has positions for. As in Hugging Face,
/// drawing takes the best 50 unless the file that asks for it says how many, and max_new_tokens wins over max_length.
/// @throws IoError if the file is damaged, or wishes what is not to be had
/// @throws std::invalid_argument if a number of the request is out of its range
template <Real Scalar>
GenerationSettings generation_settings(const std::filesystem::path& directory,
                                       const models::EncoderDecoder<Scalar>& model, const GenerationRequest& asked,
                                       Index usual_length, const WarningCallback& on_warning = {}) {
  const GenerationConfig wished = read_generation_config(directory, on_warning);
  const std::string file = (directory / generation_config_name).string();
  const TokenId start = wished.decoder_start_token_id.value_or(model.config().start);
  if (start != model.config().start)
    throw IoError(file, "decoder_start_token_id", start, std::to_string(model.config().start) + ", as in config.json");

  const detail::GenerationMethod method = detail::generation_method(asked, wished, file);
  GenerationSettings settings;
  models::GenerationOptions& generation = settings.generation;
  const Index positions = model.config().encoder.most_tokens();
  if (asked.max_length) {
    generation.max_length = *asked.max_length;
    check_argument(generation.max_length <= positions, "generation_settings", "max_length", generation.max_length,
                   "at most " + std::to_string(positions) + ", the positions of this model");
  } else {
    Index length = wished.max_length.value_or(usual_length);
    if (wished.max_new_tokens) length = *wished.max_new_tokens + 1;  // and the start id
    if (length < 2) throw IoError(file, "max_length", length, "2 at least: the start id and one token");
    generation.max_length = std::min({length, detail::longest_wish, positions});
  }
  generation.seed = asked.seed;
  generation.ends.assign(wished.eos_token_id.begin(), wished.eos_token_id.end());
  if (method == detail::GenerationMethod::draw) {
    generation.sampling = detail::drawing(asked, wished, file);
    generation.sampling.check("generation_settings");
  }
  if (method == detail::GenerationMethod::search) {
    models::BeamSearchOptions& search = settings.beams.emplace();
    search.max_length = generation.max_length;
    search.ends = generation.ends;
    search.beams = detail::first_of(asked.beams, wished.num_beams, search.beams);
    search.length_penalty = detail::first_of(asked.length_penalty, wished.length_penalty, search.length_penalty);
    search.early_stopping = wished.early_stopping.value_or(search.early_stopping);
    search.check("generation_settings");
  }
  return settings;
}

}  // namespace merganser::io
