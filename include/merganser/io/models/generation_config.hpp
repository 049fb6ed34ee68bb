// The generation_config.json of a model directory: how its authors mean it to generate.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/model_files.hpp>
#include <merganser/models/beam_search.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// The fields of a generation_config.json that mean something to us, under the names of the file; empty where the key
/// is missing or null. Keys of ways to generate that are not to be had here are errors unless they change nothing; of
/// other keys a warning is given unless they are known to say nothing.
struct GenerationConfig {
  std::optional<Index> max_length;      ///< tokens of a target, the start id included
  std::optional<Index> max_new_tokens;  ///< tokens that are generated; Hugging Face lets it win over max_length
  std::vector<TokenId> eos_token_id;    ///< each of them ends a target; one or a list in the file
  std::optional<TokenId> pad_token_id;
  std::optional<TokenId> decoder_start_token_id;
  std::optional<bool> do_sample;         ///< true: draw tokens; false: take the best
  std::optional<double> temperature;     ///< at least 0; low is cautious
  std::optional<Index> top_k;            ///< 0: all tokens
  std::optional<double> top_p;           ///< in [0, 1]
  std::optional<Index> num_beams;        ///< 1: no beam search
  std::optional<double> length_penalty;  ///< exponent of the length by which a score is divided; high favours long
  std::optional<models::EarlyStopping> early_stopping;  ///< of beam search; true, false or "never" in the file

  bool operator==(const GenerationConfig&) const = default;
};

namespace detail {

/// Requires keys that would change what is generated to have the value that doesn't.
/// @throws IoError otherwise
inline void check_generation_keys(const JsonFields& fields, bool draws) {
  const std::string reason = ", as nothing else is to be had here";
  for (const char* key : {"repetition_penalty", "encoder_repetition_penalty", "guidance_scale", "num_beam_groups"})
    fields.require_value(key, 1, reason);
  for (const char* key : {"no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_length", "min_new_tokens",
                          "diversity_penalty", "penalty_alpha"})
    fields.require_value(key, 0, reason);
  for (const char* key :
       {"bad_words_ids", "force_words_ids", "constraints", "sequence_bias", "suppress_tokens", "begin_suppress_tokens",
        "forced_decoder_ids", "stop_strings", "forced_bos_token_id", "forced_eos_token_id",
        "exponential_decay_length_penalty", "watermarking_config", "dola_layers"})
    fields.require_nothing(key, reason);
  if (!draws) return;
  for (const char* key : {"epsilon_cutoff", "eta_cutoff", "min_p"}) fields.require_value(key, 0, reason);
  fields.require_value("typical_p", 1, reason);
}

/// Keys of a generation_config.json that are read, checked or say nothing about what is generated.
inline constexpr std::string_view generation_keys[] = {"max_length",
                                                       "max_new_tokens",
                                                       "eos_token_id",
                                                       "pad_token_id",
                                                       "decoder_start_token_id",
                                                       "do_sample",
                                                       "temperature",
                                                       "top_k",
                                                       "top_p",
                                                       "num_beams",
                                                       "length_penalty",
                                                       "early_stopping",
                                                       "repetition_penalty",
                                                       "encoder_repetition_penalty",
                                                       "guidance_scale",
                                                       "num_beam_groups",
                                                       "no_repeat_ngram_size",
                                                       "encoder_no_repeat_ngram_size",
                                                       "min_length",
                                                       "min_new_tokens",
                                                       "diversity_penalty",
                                                       "penalty_alpha",
                                                       "bad_words_ids",
                                                       "force_words_ids",
                                                       "constraints",
                                                       "sequence_bias",
                                                       "suppress_tokens",
                                                       "begin_suppress_tokens",
                                                       "forced_decoder_ids",
                                                       "stop_strings",
                                                       "forced_bos_token_id",
                                                       "forced_eos_token_id",
                                                       "exponential_decay_length_penalty",
                                                       "watermarking_config",
                                                       "dola_layers",
                                                       "epsilon_cutoff",
                                                       "eta_cutoff",
                                                       "min_p",
                                                       "typical_p",
                                                       "_from_model_config",
                                                       "transformers_version",
                                                       "bos_token_id",
                                                       "use_cache",
                                                       "output_attentions",
                                                       "output_hidden_states",
                                                       "output_scores",
                                                       "output_logits",
                                                       "return_dict_in_generate",
                                                       "cache_implementation",
                                                       "low_memory",
                                                       "remove_invalid_values",
                                                       "renormalize_logits"};

}  // namespace detail

/// Reads the text of a generation_config.json; `file_name` stands for it in errors and warnings.
/// @throws IoError if the text is no JSON object, a known key has a value of the wrong type or out of its range, or the
/// file wishes something that is not to be had here
inline GenerationConfig parse_generation_config(std::string_view text, const std::string& file_name,
                                                const WarningCallback& on_warning = {}) {
  constexpr Index largest_id = std::numeric_limits<TokenId>::max(), largest = std::numeric_limits<std::int32_t>::max();
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file", detail::small_json_size_limit);
  const detail::JsonFields fields(object, file_name);
  const auto token = [&](const std::string& key) -> std::optional<TokenId> {
    const std::optional<Index> id = fields.integer(key, 0, largest_id);
    return id ? std::optional(static_cast<TokenId>(*id)) : std::nullopt;
  };
  const auto is_temperature = [](double value) { return value >= 0 && detail::is_finite_as_float(value); };
  const auto is_fraction = [](double value) { return value >= 0 && value <= 1; };

  GenerationConfig config;
  config.max_length = fields.integer("max_length", 1, largest);
  config.max_new_tokens = fields.integer("max_new_tokens", 1, largest);
  if (fields.is_array("eos_token_id")) {
    const std::vector<Index> ids = fields.integers("eos_token_id", 0, largest_id).value();
    config.eos_token_id.assign(ids.begin(), ids.end());
  } else if (const std::optional<TokenId> id = token("eos_token_id")) {
    config.eos_token_id.push_back(*id);
  }
  config.pad_token_id = token("pad_token_id");
  config.decoder_start_token_id = token("decoder_start_token_id");
  config.do_sample = fields.flag("do_sample");
  config.temperature = fields.number("temperature", is_temperature, "a number of at least 0");
  config.top_k = fields.integer("top_k", 0, largest);
  config.top_p = fields.number("top_p", is_fraction, "a number in [0, 1]");
  config.num_beams = fields.integer("num_beams", 1, models::BeamSearchOptions::most_beams);
  config.length_penalty = fields.number("length_penalty", detail::is_finite_as_float, "a finite number");
  if (fields.is_text("early_stopping")) {
    config.early_stopping = fields.choice("early_stopping", std::array<detail::Choice<models::EarlyStopping>, 1>{
                                                                {{"never", models::EarlyStopping::when_impossible}}});
  } else if (const std::optional<bool> stops = fields.flag("early_stopping")) {
    config.early_stopping = *stops ? models::EarlyStopping::when_full : models::EarlyStopping::when_unlikely;
  }
  detail::check_generation_keys(fields, config.do_sample.value_or(false));
  for (const auto& [key, value] : object.items())
    if (!detail::is_among(key, detail::generation_keys))
      detail::warn(on_warning, file_name, key, "is passed over: no key of this version");
  return config;
}

/// Reads the generation_config.json among the files of a model; all fields are empty if there is none.
/// @throws IoError as `parse_generation_config`
inline GenerationConfig read_generation_config(const ModelFiles& files, const WarningCallback& on_warning = {}) {
  if (!files.generation_config) return {};
  return parse_generation_config(*files.generation_config, files.path_of(generation_config_name), on_warning);
}

/// Reads `directory`/generation_config.json; all fields are empty if there is no such file.
/// @throws IoError if the file can't be read, or as `parse_generation_config`
inline GenerationConfig read_generation_config(const std::filesystem::path& directory,
                                               const WarningCallback& on_warning = {}) {
  ModelFiles files;
  files.origin = directory;
  files.generation_config = detail::open_small_file(files, generation_config_name);
  return read_generation_config(files, on_warning);
}

}  // namespace merganser::io
