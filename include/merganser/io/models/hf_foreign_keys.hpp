// Keys of a config.json that say what our models do not do, or say again what another key says; and all the others.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/files/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

/// What the keys that we read have said.
struct KnownKeys {
  Index d_model = 0;
  Index d_kv = 0;
  Index num_heads = 0;
  Index num_layers = 0;
  bool gated = false;  // the feed-forward layer
};

/// Requires keys that would change the arithmetic to have the value that doesn't. A missing key or null is right.
/// @throws IoError otherwise
inline void check_foreign_keys(const JsonFields& fields, const KnownKeys& known) {
  fields.require_value("is_encoder_decoder", true);
  for (const char* key : {"is_decoder", "scalable_attention", "tie_encoder_decoder"}) fields.require_value(key, false);
  for (const char* key : {"pruned_heads", "quantization_config"}) fields.require_value(key, nlohmann::json::object());

  // Hugging Face derives these two from feed_forward_proj, and lets the file overrule that.
  fields.require_value("is_gated_act", known.gated, ", as feed_forward_proj says, which is relu where it is missing");
  if (known.gated)
    fields.choice("dense_act_fn",
                  std::array<Choice<bool>, 2>{{{"gelu_new", true}, {"gelu_pytorch_tanh", true}}});  // one function
  else
    fields.choice("dense_act_fn", std::array<Choice<bool>, 1>{{{"relu", true}}});

  // Other names of Hugging Face for the same settings.
  const std::array<std::pair<const char*, Index>, 4> synonyms{{{"hidden_size", known.d_model},
                                                               {"head_dim", known.d_kv},
                                                               {"num_attention_heads", known.num_heads},
                                                               {"num_hidden_layers", known.num_layers}}};
  for (const auto& [key, value] : synonyms) fields.require_value(key, value);
}

/// What becomes of a key of a config.json.
enum class KeyUse {
  read,     ///< the model is made of it, or it is checked
  silent,   ///< it says nothing about what the model computes
  weights,  ///< it says how the weights are stored, which the weight files say themselves
  unknown,
};

/// The keys that are read or checked.
inline constexpr std::string_view read_keys[] = {"model_type",
                                                 "vocab_size",
                                                 "d_model",
                                                 "d_kv",
                                                 "d_ff",
                                                 "num_heads",
                                                 "num_layers",
                                                 "num_decoder_layers",
                                                 "relative_attention_num_buckets",
                                                 "relative_attention_max_distance",
                                                 "dropout_rate",
                                                 "layer_norm_epsilon",
                                                 "initializer_factor",
                                                 "feed_forward_proj",
                                                 "tie_word_embeddings",
                                                 "scale_decoder_outputs",
                                                 "decoder_start_token_id",
                                                 "eos_token_id",
                                                 "pad_token_id",
                                                 "use_softmax1",
                                                 "has_absolute_position_embeddings",
                                                 "max_position_embeddings",
                                                 "delete_gate_layer",
                                                 "deletion_threshold",
                                                 "sigmoid_mask_scale",
                                                 "deletion_type",
                                                 "gate_layer_norm",
                                                 "use_gumbel_noise",
                                                 "fixed_deletion_amount",
                                                 "random_deletion_probability",
                                                 "boundary_predictor_layer",
                                                 "boundary_predictor_type",
                                                 "downsampling_layer",
                                                 "downsampling_rate",
                                                 "temperature",
                                                 "prior",
                                                 "merganser",
                                                 "is_encoder_decoder",
                                                 "is_decoder",
                                                 "scalable_attention",
                                                 "tie_encoder_decoder",
                                                 "pruned_heads",
                                                 "quantization_config",
                                                 "is_gated_act",
                                                 "dense_act_fn",
                                                 "hidden_size",
                                                 "head_dim",
                                                 "num_attention_heads",
                                                 "num_hidden_layers",
                                                 "architectures",
                                                 "tokenizer_class"};

/// The keys that say nothing about what the model computes.
inline constexpr std::string_view silent_keys[] = {"_name_or_path",
                                                   "_commit_hash",
                                                   "transformers_version",
                                                   "use_cache",
                                                   "n_positions",
                                                   "task_specific_params",
                                                   "output_past",
                                                   "gradient_checkpointing",
                                                   "classifier_dropout",
                                                   "bos_token_id",
                                                   "return_dict",
                                                   "output_attentions",
                                                   "output_hidden_states",
                                                   "torchscript",
                                                   "problem_type",
                                                   "finetuning_task",
                                                   "id2label",
                                                   "label2id",
                                                   "_attn_implementation",
                                                   "_attn_implementation_autoset",
                                                   "train_language",
                                                   "eval_language"};

inline KeyUse use_of_key(std::string_view key) {
  if (is_among(key, read_keys)) return KeyUse::read;
  if (is_among(key, silent_keys)) return KeyUse::silent;
  return key == "torch_dtype" || key == "dtype" ? KeyUse::weights : KeyUse::unknown;
}

}  // namespace merganser::io::detail
