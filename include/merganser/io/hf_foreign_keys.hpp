// Keys of a config.json that say what our models do not do, or say again what another key says.
#pragma once

#include <array>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/strict_json.hpp>

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
  fields.require_value("is_gated_act", known.gated);
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

}  // namespace merganser::io::detail
