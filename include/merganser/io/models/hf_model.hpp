// The model that a config.json describes, and the config.json that describes a model.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/io/models/hf_config.hpp>
#include <merganser/io/models/hf_pooling.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::io {

namespace detail {

inline GateConfig gate_from_hf(const HfConfig& hf, Index block) {
  GateConfig gate;
  gate.block = block;
  gate.scale = hf.sigmoid_mask_scale.value_or(gate.scale);
  gate.threshold = hf.deletion_threshold;
  gate.norm = hf.gate_layer_norm.value_or(true) ? merge::GateNorm::rms : merge::GateNorm::none;
  gate.noise = hf.use_gumbel_noise.value_or(false) ? merge::GateNoise::gumbel : merge::GateNoise::none;
  switch (hf.deletion_type.value_or(HfConfig::DeletionType::scaled_sigmoid)) {
    case HfConfig::DeletionType::scaled_sigmoid:
      break;
    case HfConfig::DeletionType::log_sigmoid:
      gate.activation = merge::GateActivation::log_sigmoid;
      break;
    case HfConfig::DeletionType::fixed:
      gate.kind = GateKind::fixed;
      gate.rate = hf.fixed_deletion_amount.value_or(gate.rate);
      gate.separators = data::ByteTokenizer::separator_ids();
      break;
    case HfConfig::DeletionType::random:
      gate.kind = GateKind::random;
      gate.rate = hf.random_deletion_probability.value_or(gate.rate);
      break;
  }
  return gate;
}

inline HfConfig::DeletionType deletion_type_of(const GateConfig& gate) {
  if (gate.kind == GateKind::fixed) return HfConfig::DeletionType::fixed;
  if (gate.kind == GateKind::random) return HfConfig::DeletionType::random;
  return gate.activation == merge::GateActivation::log_sigmoid ? HfConfig::DeletionType::log_sigmoid
                                                               : HfConfig::DeletionType::scaled_sigmoid;
}

}  // namespace detail

/// The model that a config.json describes, but for its policies.
template <Real Scalar>
typename models::EncoderDecoder<Scalar>::Config model_config(const HfConfig& hf) {
  typename models::EncoderDecoder<Scalar>::Config config;
  config.vocabulary = hf.vocab_size;
  models::StackConfig& stack = config.encoder;
  stack.width = hf.d_model;
  stack.heads = hf.num_heads;
  stack.head_width = hf.d_kv;
  stack.feed_forward_width = hf.d_ff;
  stack.blocks = hf.num_layers;
  stack.activation =
      hf.feed_forward_proj == HfConfig::FeedForward::relu ? nn::Activation::relu : nn::Activation::gated_gelu;
  stack.softmax = hf.use_softmax1 ? nn::SoftmaxKind::softmax1 : nn::SoftmaxKind::softmax;
  stack.dropout = hf.dropout_rate;
  stack.norm_epsilon = hf.layer_norm_epsilon;
  stack.positions =
      hf.has_absolute_position_embeddings ? models::PositionScheme::absolute : models::PositionScheme::relative;
  stack.buckets = hf.relative_attention_num_buckets;
  stack.max_distance = hf.relative_attention_max_distance;
  stack.max_positions = hf.max_position_embeddings.value_or(stack.max_positions);
  config.decoder_blocks = hf.num_decoder_layers;
  config.head = hf.tie_word_embeddings ? models::Head::tied : models::Head::untied;
  if (hf.scale_decoder_outputs != hf.tie_word_embeddings)
    config.head_input = hf.scale_decoder_outputs ? models::HeadInput::scaled : models::HeadInput::unscaled;
  config.pad = hf.pad_token_id.value_or(models::no_pad);
  config.end = hf.eos_token_id;
  config.start = hf.decoder_start_token_id;
  stack.score_bound = nn::ScoreBound::none();
  if (hf.merganser && hf.merganser->score_bound != HfConfig::ScoreBound::none)
    stack.score_bound = {hf.merganser->score_bound == HfConfig::ScoreBound::soft_cap ? nn::ScoreBoundKind::soft_cap
                                                                                     : nn::ScoreBoundKind::normalised,
                         hf.merganser->score_bound_value.value_or(0.0)};
  return config;
}

/// Its policies.
inline EncoderPolicies policies_of(const HfConfig& hf) {
  EncoderPolicies policies;
  policies.pooling = hf.pooling;
  if (hf.merganser) policies.named = hf.merganser->policies;
  if (hf.model_type != HfConfig::ModelType::mrt5) return policies;
  std::vector<Index> blocks;
  if (hf.merganser) blocks = hf.merganser->gate_blocks;
  if (blocks.empty()) blocks.push_back(*hf.delete_gate_layer);
  for (const Index block : blocks) policies.gates.push_back(detail::gate_from_hf(hf, block));
  return policies;
}

namespace detail {

/// The threshold in force without an override.
inline double threshold_of(const GateConfig& gate) {
  if (gate.threshold) return *gate.threshold;
  return gate.kind == GateKind::learned && gate.activation == merge::GateActivation::log_sigmoid ? -std::log(2.0)
                                                                                                 : gate.scale / 2;
}

/// Requires gates that differ in their block only, and of a fixed one the separators that the format means.
inline void check_gates_alike(const Vector<GateConfig>& gates) {
  const GateConfig& first = gates.front();
  for (const GateConfig& gate : gates) {
    const bool same = gate.kind == first.kind && gate.activation == first.activation && gate.scale == first.scale &&
                      threshold_of(gate) == threshold_of(first) && gate.norm == first.norm &&
                      gate.noise == first.noise && gate.rate == first.rate && gate.separators == first.separators;
    check_argument(same, "hf_config", "gates", "gates that differ", "gates that differ in their block only");
    check_argument(gate.kind != GateKind::fixed || gate.separators == data::ByteTokenizer::separator_ids(), "hf_config",
                   "separators of a fixed gate", "other ids", "those of the byte tokenizer");
  }
}

/// Says in a config.json what the gates of a model are.
inline void describe_gates(const Vector<GateConfig>& gates, HfConfig& hf) {
  check_gates_alike(gates);
  const GateConfig& first = gates.front();
  hf.model_type = HfConfig::ModelType::mrt5;
  hf.delete_gate_layer = first.block;
  hf.sigmoid_mask_scale = first.scale;
  hf.deletion_threshold = threshold_of(first);
  hf.deletion_type = deletion_type_of(first);
  hf.gate_layer_norm = first.norm == merge::GateNorm::rms;
  hf.use_gumbel_noise = first.noise == merge::GateNoise::gumbel;
  if (first.kind == GateKind::fixed) hf.fixed_deletion_amount = first.rate;
  if (first.kind == GateKind::random) hf.random_deletion_probability = first.rate;
}

/// What a config.json of Hugging Face has no words for.
template <class Config>
HfConfig::Extension extension_of(const Config& config, const EncoderPolicies& policies) {
  HfConfig::Extension extension;
  const nn::ScoreBound& bound = config.encoder.score_bound;
  if (bound.kind != nn::ScoreBoundKind::none) {
    extension.score_bound =
        bound.kind == nn::ScoreBoundKind::soft_cap ? HfConfig::ScoreBound::soft_cap : HfConfig::ScoreBound::normalised;
    extension.score_bound_value = bound.value;
  }
  if (policies.gates.size() > 1)
    for (const GateConfig& gate : policies.gates) extension.gate_blocks.push_back(gate.block);
  extension.policies = policies.named;
  return extension;
}

}  // namespace detail

/// The config.json that describes a model.
/// @throws std::invalid_argument if its gates differ in more than their block or a fixed gate has separators of its
/// own, which the format cannot say
template <class Config>
HfConfig hf_config(const Config& config, const EncoderPolicies& policies) {
  const models::StackConfig& stack = config.encoder;
  HfConfig hf;
  hf.vocab_size = config.vocabulary;
  hf.d_model = stack.width;
  hf.num_heads = stack.heads;
  hf.d_kv = stack.head_width;
  hf.d_ff = stack.feed_forward_width;
  hf.num_layers = stack.blocks;
  hf.num_decoder_layers = config.decoder_blocks;
  hf.feed_forward_proj =
      stack.activation == nn::Activation::relu ? HfConfig::FeedForward::relu : HfConfig::FeedForward::gated_gelu;
  hf.use_softmax1 = stack.softmax == nn::SoftmaxKind::softmax1;
  hf.dropout_rate = stack.dropout;
  hf.layer_norm_epsilon = stack.norm_epsilon;
  hf.has_absolute_position_embeddings = stack.positions == models::PositionScheme::absolute;
  if (hf.has_absolute_position_embeddings) hf.max_position_embeddings = stack.max_positions;
  hf.relative_attention_num_buckets = stack.buckets;
  hf.relative_attention_max_distance = stack.max_distance;
  hf.tie_word_embeddings = config.head == models::Head::tied;
  hf.scale_decoder_outputs = config.scales_head_input();
  hf.pad_token_id = config.pad == models::no_pad ? std::nullopt : std::optional(config.pad);
  hf.eos_token_id = config.end;
  hf.decoder_start_token_id = config.start;
  if (policies.pooling) hf.pooling = detail::used_settings(*policies.pooling);
  if (!policies.gates.empty()) detail::describe_gates(policies.gates, hf);
  const HfConfig::Extension extension = detail::extension_of(config, policies);
  if (!(extension == HfConfig::Extension{})) hf.merganser = extension;
  return hf;
}

/// @throws std::invalid_argument as well if a policy has no words in the format
template <Real Scalar>
HfConfig hf_config(const models::EncoderDecoder<Scalar>& model) {
  return hf_config(model.config(), describe_policies(model.encoder.policies));
}

}  // namespace merganser::io
