// The config.json of a model directory, as Hugging Face writes it for T5, mT5 and MrT5.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/hf_foreign_keys.hpp>
#include <merganser/io/models/hf_pooling.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// The fields of a config.json that a model of ours is made of. Other keys of the file are passed over, with a warning
/// unless they are known to say nothing, but for those that would change the arithmetic (`check_foreign_keys`).
///
/// Fields have the names of the file. A default is what Hugging Face takes for a missing key of T5; an empty optional
/// is a key that is missing or null. Numbers are finite as float.
struct HfConfig {
  enum class ModelType { t5, mt5, mrt5 };
  enum class FeedForward { relu, gated_gelu };
  enum class DeletionType { scaled_sigmoid, log_sigmoid, fixed, random };
  enum class ScoreBound { none, soft_cap, normalised };

  ModelType model_type = ModelType::t5;
  Index vocab_size = 0;          ///< V
  Index d_model = 0;             ///< D
  Index d_kv = 0;                ///< K, width of one head
  Index d_ff = 0;                ///< F
  Index num_heads = 0;           ///< H
  Index num_layers = 0;          ///< encoder blocks
  Index num_decoder_layers = 0;  ///< as many as encoder blocks if the key is missing
  Index relative_attention_num_buckets = 32;
  Index relative_attention_max_distance = 128;  ///< in tokens
  double dropout_rate = 0.1;
  double layer_norm_epsilon = 1e-6;
  double initializer_factor = 1.0;
  FeedForward feed_forward_proj = FeedForward::relu;
  bool tie_word_embeddings = true;    ///< a file that has a head of its own has it all the same (`load_model`)
  bool scale_decoder_outputs = true;  ///< by D^-0.5, before the head; as tie_word_embeddings if the key is missing
  TokenId decoder_start_token_id = 0;
  TokenId eos_token_id = 1;
  std::optional<TokenId> pad_token_id = 0;  ///< empty: there is no pad, null in the file
  bool use_softmax1 = false;
  bool has_absolute_position_embeddings = false;
  std::optional<Index> max_position_embeddings;  ///< in tokens; required with absolute positions

  std::optional<Index> delete_gate_layer;    ///< the encoder block, from 0, whose input the gate sees; required in MrT5
  std::optional<double> deletion_threshold;  ///< a token is kept if its gate value is above; required in MrT5
  std::optional<double> sigmoid_mask_scale;  ///< gate value of a deleted token, negative; required in MrT5
  std::optional<DeletionType> deletion_type;  ///< required in MrT5
  std::optional<bool> gate_layer_norm;
  std::optional<bool> use_gumbel_noise;
  std::optional<double> fixed_deletion_amount;        ///< in [0, 1]
  std::optional<double> random_deletion_probability;  ///< in [0, 1]

  std::optional<PoolingConfig> pooling;  ///< of the encoder of a T5; its keys are in hf_pooling.hpp

  /// What no Hugging Face key says, under the key "merganser".
  struct Extension {
    ScoreBound score_bound = ScoreBound::none;
    std::optional<double> score_bound_value;  ///< the cap or the scale; required with a bound
    /// Encoder blocks with a gate, rising, `delete_gate_layer` one of them; [] if there is no other.
    std::vector<Index> gate_blocks;
    std::vector<std::string> policies = {};  ///< by name, such as "local_merging:block=2"; see NamedPolicies

    bool operator==(const Extension&) const = default;
  };
  std::optional<Extension> merganser;

  bool operator==(const HfConfig&) const = default;
};

/// Keys that a MrT5 must have, for a config.json that lacks them: published defaults disagree, so none is assumed. What
/// the file says wins.
struct MissingGateKeys {
  std::optional<Index> delete_gate_layer;
  std::optional<double> sigmoid_mask_scale;
  std::optional<double> deletion_threshold;
  std::optional<HfConfig::DeletionType> deletion_type;
};

namespace detail {

inline constexpr std::array<Choice<HfConfig::ModelType>, 3> model_types{
    {{"t5", HfConfig::ModelType::t5}, {"mt5", HfConfig::ModelType::mt5}, {"mrt5", HfConfig::ModelType::mrt5}}};
inline constexpr std::array<Choice<HfConfig::FeedForward>, 2> feed_forwards{
    {{"relu", HfConfig::FeedForward::relu}, {"gated-gelu", HfConfig::FeedForward::gated_gelu}}};
inline constexpr std::array<Choice<HfConfig::DeletionType>, 4> deletion_types{
    {{"scaled_sigmoid", HfConfig::DeletionType::scaled_sigmoid},
     {"log_sigmoid", HfConfig::DeletionType::log_sigmoid},
     {"fixed", HfConfig::DeletionType::fixed},
     {"random", HfConfig::DeletionType::random}}};
inline constexpr std::array<Choice<HfConfig::ScoreBound>, 3> score_bounds{
    {{"none", HfConfig::ScoreBound::none},
     {"soft_cap", HfConfig::ScoreBound::soft_cap},
     {"normalised", HfConfig::ScoreBound::normalised}}};

inline void fill_missing(nlohmann::json& object, const MissingGateKeys& missing, const std::string& file,
                         const WarningCallback& on_warning) {
  const auto fill = [&](const char* key, const auto& value) {
    if (!value) return;
    const nlohmann::json given = *value;
    if (!object.contains(key) || object[key].is_null())
      object[key] = given;
    else if (object[key] != given)
      warn(on_warning, file, key,
           "is " + describe(object[key]) + "; " + describe(given) + ", given for a missing key, is passed over");
  };
  fill("delete_gate_layer", missing.delete_gate_layer);
  fill("sigmoid_mask_scale", missing.sigmoid_mask_scale);
  fill("deletion_threshold", missing.deletion_threshold);
  if (missing.deletion_type) fill("deletion_type", std::optional(word_of(*missing.deletion_type, deletion_types)));
}

/// Says what is passed over.
inline void warn_of_keys(const nlohmann::json& object, const HfConfig& config, const std::string& file,
                         const WarningCallback& on_warning) {
  for (const auto& [key, value] : object.items())
    if (use_of_key(key) == KeyUse::unknown)
      warn(on_warning, file, key, "is passed over: no key that models are made of here");
  if (config.delete_gate_layer && config.model_type != HfConfig::ModelType::mrt5)
    warn(on_warning, file, "delete_gate_layer", "is passed over, as model_type is not \"mrt5\"");
}

inline bool is_fraction(double value) { return value >= 0 && value <= 1; }
inline bool is_positive(double value) { return value > 0 && is_finite_as_float(value); }

inline HfConfig::Extension parse_extension(const JsonFields& fields, const HfConfig& config) {
  fields.allow_only({"score_bound", "score_bound_value", "gate_blocks", "policies"});
  HfConfig::Extension extension;
  extension.score_bound = fields.choice("score_bound", score_bounds).value_or(extension.score_bound);
  extension.score_bound_value = fields.number("score_bound_value", is_positive_as_float, "a positive number");
  if (extension.score_bound != HfConfig::ScoreBound::none)
    fields.required(extension.score_bound_value, "score_bound_value", "a positive number");
  extension.gate_blocks = fields.integers("gate_blocks", 0, config.num_layers - 1).value_or(extension.gate_blocks);
  const std::vector<Index>& blocks = extension.gate_blocks;
  if (std::adjacent_find(blocks.begin(), blocks.end(), std::greater_equal<>()) != blocks.end())
    fields.fail("gate_blocks", "blocks out of order or twice", "rising blocks");
  if (!blocks.empty() && config.delete_gate_layer &&
      !std::binary_search(blocks.begin(), blocks.end(), *config.delete_gate_layer))
    fields.fail("gate_blocks", "blocks without " + std::to_string(*config.delete_gate_layer),
                "delete_gate_layer among them");
  extension.policies = fields.texts("policies").value_or(extension.policies);
  return extension;
}

inline void parse_sizes(const JsonFields& fields, HfConfig& config) {
  constexpr Index largest = std::numeric_limits<std::int32_t>::max();
  const auto size = [&](const std::string& key) {
    return fields.required(fields.integer(key, 1, largest), key, "a positive whole number");
  };
  config.vocab_size = size("vocab_size");
  config.d_model = size("d_model");
  config.d_kv = size("d_kv");
  config.d_ff = size("d_ff");
  config.num_heads = size("num_heads");
  config.num_layers = size("num_layers");
  config.num_decoder_layers = fields.integer("num_decoder_layers", 0, largest).value_or(config.num_layers);
  Index& buckets = config.relative_attention_num_buckets;
  Index& distance = config.relative_attention_max_distance;
  // Fewer than 4 buckets leave none for the nearest tokens of each direction; no bucket may begin beyond the distance.
  buckets = fields.integer("relative_attention_num_buckets", 4, largest).value_or(buckets);
  distance = fields.integer("relative_attention_max_distance", buckets / 2 + 1, largest).value_or(distance);
  if (distance <= buckets / 2)
    fields.fail("relative_attention_num_buckets", std::to_string(buckets),
                "at most twice the default relative_attention_max_distance of " + std::to_string(distance));
  config.max_position_embeddings = fields.integer("max_position_embeddings", 1, largest);
  config.has_absolute_position_embeddings =
      fields.flag("has_absolute_position_embeddings").value_or(config.has_absolute_position_embeddings);
  if (config.has_absolute_position_embeddings)
    fields.required(config.max_position_embeddings, "max_position_embeddings", "a positive whole number");

  const auto token = [&](const std::string& key, TokenId missing) {
    const Index id = fields.integer(key, 0, config.vocab_size - 1).value_or(missing);
    if (id >= config.vocab_size) fields.fail(key, "no such key", "an id below vocab_size, which its default is not");
    return static_cast<TokenId>(id);
  };
  config.decoder_start_token_id = token("decoder_start_token_id", config.decoder_start_token_id);
  config.eos_token_id = token("eos_token_id", config.eos_token_id);
  config.pad_token_id = fields.is_null("pad_token_id") ? std::nullopt : std::optional(token("pad_token_id", 0));
}

inline void parse_gate(const JsonFields& fields, HfConfig& config) {
  const std::string finite = "a finite number";
  config.delete_gate_layer = fields.integer("delete_gate_layer", 0, config.num_layers - 1);
  config.deletion_threshold = fields.number("deletion_threshold", is_finite_as_float, finite);
  config.sigmoid_mask_scale = fields.number(
      "sigmoid_mask_scale", [](double value) { return is_positive(-value); }, "a negative number");
  config.deletion_type = fields.choice("deletion_type", deletion_types);
  config.gate_layer_norm = fields.flag("gate_layer_norm");
  config.use_gumbel_noise = fields.flag("use_gumbel_noise");
  config.fixed_deletion_amount = fields.number("fixed_deletion_amount", is_fraction, "a number in [0, 1]");
  config.random_deletion_probability = fields.number("random_deletion_probability", is_fraction, "a number in [0, 1]");
  if (config.model_type != HfConfig::ModelType::mrt5) return;
  const std::string reason = "a value, as model_type is \"mrt5\"; whoever loads it may give one";
  fields.required(config.delete_gate_layer, "delete_gate_layer", reason);
  fields.required(config.sigmoid_mask_scale, "sigmoid_mask_scale", reason);
  fields.required(config.deletion_threshold, "deletion_threshold", reason);
  fields.required(config.deletion_type, "deletion_type", reason);
}

}  // namespace detail

/// Reads the text of a config.json; `file_name` stands for it in errors and warnings.
/// @throws IoError if the text is no JSON object, a known key has a value of the wrong type or out of its range, a
/// required key is missing, or the "merganser" object has an unknown key
inline HfConfig parse_hf_config(std::string_view text, const std::string& file_name,
                                const MissingGateKeys& missing = {}, const WarningCallback& on_warning = {}) {
  nlohmann::json object = detail::parse_json_object(text, file_name, "file", detail::small_json_size_limit);
  const detail::JsonFields fields(object, file_name);
  HfConfig config;
  config.model_type =
      fields.required(fields.choice("model_type", detail::model_types), "model_type", R"("t5" or "mt5" or "mrt5")");
  if (config.model_type == HfConfig::ModelType::mrt5) detail::fill_missing(object, missing, file_name, on_warning);
  if (config.model_type == HfConfig::ModelType::mt5) {
    config.feed_forward_proj = HfConfig::FeedForward::gated_gelu;
    config.tie_word_embeddings = false;
  }
  detail::parse_sizes(fields, config);
  const auto is_rate = [](double value) { return value >= 0 && static_cast<float>(value) < 1; };
  config.dropout_rate = fields.number("dropout_rate", is_rate, "a number in [0, 1)").value_or(config.dropout_rate);
  config.layer_norm_epsilon =
      fields.number("layer_norm_epsilon", detail::is_positive, "a positive number").value_or(config.layer_norm_epsilon);
  config.initializer_factor =
      fields.number("initializer_factor", detail::is_positive, "a positive number").value_or(config.initializer_factor);
  config.feed_forward_proj =
      fields.choice("feed_forward_proj", detail::feed_forwards).value_or(config.feed_forward_proj);
  config.tie_word_embeddings = fields.flag("tie_word_embeddings").value_or(config.tie_word_embeddings);
  config.scale_decoder_outputs = fields.flag("scale_decoder_outputs").value_or(config.tie_word_embeddings);
  config.use_softmax1 = fields.flag("use_softmax1").value_or(config.use_softmax1);
  detail::check_foreign_keys(fields, {config.d_model, config.d_kv, config.num_heads, config.num_layers,
                                      config.feed_forward_proj == HfConfig::FeedForward::gated_gelu});
  detail::parse_gate(fields, config);
  config.pooling = detail::parse_pooling(fields, config.num_layers);
  if (config.pooling && config.model_type == HfConfig::ModelType::mrt5)
    fields.fail("model_type", "\"mrt5\", beside a pooling", "gates or a pooling");
  if (const nlohmann::json* extension = fields.object("merganser"); extension != nullptr)
    config.merganser = detail::parse_extension(detail::JsonFields(*extension, file_name, "merganser."), config);
  detail::warn_of_keys(object, config, file_name, on_warning);
  return config;
}

/// Reads a config.json.
/// @throws IoError if the file can't be read, or as `parse_hf_config`
inline HfConfig read_hf_config(const std::filesystem::path& path, const MissingGateKeys& missing = {},
                               const WarningCallback& on_warning = {}) {
  return parse_hf_config(read_text_file(path, detail::small_json_size_limit), path.string(), missing, on_warning);
}

}  // namespace merganser::io
