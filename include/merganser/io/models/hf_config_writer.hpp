// Writing the config.json of a model directory.
#pragma once

#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/models/hf_config.hpp>
#include <merganser/io/models/hf_pooling.hpp>

namespace merganser::inline MERGANSER_ISA::io {

namespace detail {

/// What every config.json says.
inline nlohmann::json common_fields(const HfConfig& config) {
  const bool mrt5 = config.model_type == HfConfig::ModelType::mrt5;
  nlohmann::json object = nlohmann::json::object();
  object["architectures"].push_back(mrt5 ? "MrT5ForConditionalGeneration" : "T5ForConditionalGeneration");
  object["pad_token_id"] = nullptr;
  const auto put = [&object](const char* key, const auto& value) { object[key] = value; };
  put("model_type", word_of(config.model_type, model_types));
  put("feed_forward_proj", word_of(config.feed_forward_proj, feed_forwards));
  put("vocab_size", config.vocab_size);
  put("d_model", config.d_model);
  put("d_kv", config.d_kv);
  put("d_ff", config.d_ff);
  put("num_heads", config.num_heads);
  put("num_layers", config.num_layers);
  put("num_decoder_layers", config.num_decoder_layers);
  put("relative_attention_num_buckets", config.relative_attention_num_buckets);
  put("relative_attention_max_distance", config.relative_attention_max_distance);
  put("decoder_start_token_id", config.decoder_start_token_id);
  put("eos_token_id", config.eos_token_id);
  put("dropout_rate", config.dropout_rate);
  put("layer_norm_epsilon", config.layer_norm_epsilon);
  put("initializer_factor", config.initializer_factor);
  put("is_encoder_decoder", true);
  put("tie_word_embeddings", config.tie_word_embeddings);
  put("scale_decoder_outputs", config.scale_decoder_outputs);
  put("use_softmax1", config.use_softmax1);
  put("has_absolute_position_embeddings", config.has_absolute_position_embeddings);
  return object;
}

/// What only some models have.
inline void put_optional_fields(nlohmann::json& object, const HfConfig& config) {
  const auto put = [&object](const char* key, const auto& value) {
    if (value) object[key] = *value;
  };
  put("pad_token_id", config.pad_token_id);
  put("max_position_embeddings", config.max_position_embeddings);
  put("delete_gate_layer", config.delete_gate_layer);
  put("deletion_threshold", config.deletion_threshold);
  put("sigmoid_mask_scale", config.sigmoid_mask_scale);
  put("gate_layer_norm", config.gate_layer_norm);
  put("use_gumbel_noise", config.use_gumbel_noise);
  put("fixed_deletion_amount", config.fixed_deletion_amount);
  put("random_deletion_probability", config.random_deletion_probability);
  if (config.pooling) put_pooling(object, *config.pooling);
  if (config.deletion_type) object["deletion_type"] = word_of(*config.deletion_type, deletion_types);
  if (!config.merganser) return;
  nlohmann::json& extension = object["merganser"];
  extension["score_bound"] = word_of(config.merganser->score_bound, score_bounds);
  extension["gate_blocks"] = config.merganser->gate_blocks;
  if (!config.merganser->policies.empty()) extension["policies"] = config.merganser->policies;
  if (config.merganser->score_bound_value) extension["score_bound_value"] = *config.merganser->score_bound_value;
}

}  // namespace detail

/// The text of a config.json that Hugging Face and `parse_hf_config` read.
/// @throws std::invalid_argument if a field is out of its range
inline std::string to_json(const HfConfig& config) {
  nlohmann::json object = detail::common_fields(config);
  detail::put_optional_fields(object, config);
  std::string text = object.dump(2) + "\n";
  try {
    if (parse_hf_config(text, "config") == config) return text;
  } catch (const IoError& error) {
    throw std::invalid_argument("to_json: " + std::string(error.what()));
  }
  throw_invalid_argument("to_json", "config", "a field that is not finite", "finite numbers");
}

}  // namespace merganser::io
