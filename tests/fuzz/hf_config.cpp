// Any text as a config.json.
#include <cmath>
#include <string>

#include <merganser/io/models/hf_config.hpp>
#include <merganser/io/models/model_directory.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

using io::HfConfig;

void check_ranges(const HfConfig& config) {
  for (const Index size : {config.vocab_size, config.d_model, config.d_kv, config.d_ff, config.num_heads,
                           config.num_layers, config.relative_attention_num_buckets})
    require(size >= 1, "sizes are positive");
  require(config.num_decoder_layers >= 0, "a decoder may have no blocks, not fewer");
  require(config.relative_attention_max_distance > config.relative_attention_num_buckets / 2, "buckets begin in reach");
  require(config.dropout_rate >= 0 && config.dropout_rate < 1, "dropout leaves something");
  require(config.layer_norm_epsilon > 0 && std::isfinite(config.layer_norm_epsilon), "epsilon is positive");
  for (const TokenId id : {config.decoder_start_token_id, config.eos_token_id, config.pad_token_id.value_or(0)})
    require(id >= 0 && id < config.vocab_size, "ids have an embedding");
  if (config.model_type != HfConfig::ModelType::mrt5) return;
  require(config.delete_gate_layer && *config.delete_gate_layer < config.num_layers, "the gate stands at a block");
  require(config.sigmoid_mask_scale && *config.sigmoid_mask_scale < 0, "the scale is negative");
  require(config.deletion_threshold && std::isfinite(*config.deletion_threshold), "the threshold is a number");
  require(config.deletion_type.has_value(), "the gate has a kind");
}

/// Config to model to config: nothing that the model is made of is lost.
void check_model_round_trip(const HfConfig& config) {
  const auto again = [](const HfConfig& said) {
    return io::hf_config(io::model_config<float>(said), io::policies_of(said));
  };
  const HfConfig once = again(config);
  require(io::parse_hf_config(io::to_json(once), "once") == once, "the config of a model comes back");
  require(again(once) == once, "a config is a fixed point of its model");
}

}  // namespace

void run(std::string_view text) {
  const io::MissingGateKeys missing{.delete_gate_layer = 0,
                                    .sigmoid_mask_scale = -30.0,
                                    .deletion_threshold = -15.0,
                                    .deletion_type = HfConfig::DeletionType::scaled_sigmoid};
  const auto filled = unless_refused([&] { return io::parse_hf_config(text, "config", missing); });
  const auto config = unless_refused([&] { return io::parse_hf_config(text, "config"); });

  if (config) require(filled && *filled == *config, "what the file says wins");
  for (const auto& accepted : {filled, config}) {
    if (!accepted) continue;
    check_ranges(*accepted);
    require(io::parse_hf_config(io::to_json(*accepted), "again") == *accepted, "a config comes back");
    check_model_round_trip(*accepted);
  }
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
