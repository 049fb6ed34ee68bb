// Model directories: config.json beside the weight files, in the layout of Hugging Face.
#pragma once

#include <cstddef>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/atomic_file.hpp>
#include <merganser/io/hf_config.hpp>
#include <merganser/io/inference_loading.hpp>
#include <merganser/io/model_files.hpp>
#include <merganser/io/safetensors.hpp>
#include <merganser/io/weight_files_writer.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::io {

namespace detail {

inline merge::GateConfig gate_from_hf(const HfConfig& hf, Index block) {
  merge::GateConfig gate;
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
      gate.kind = merge::GateKind::fixed;
      gate.rate = hf.fixed_deletion_amount.value_or(gate.rate);
      gate.separators = data::ByteTokenizer::separator_ids();
      break;
    case HfConfig::DeletionType::random:
      gate.kind = merge::GateKind::random;
      gate.rate = hf.random_deletion_probability.value_or(gate.rate);
      break;
  }
  return gate;
}

inline HfConfig::DeletionType deletion_type_of(const merge::GateConfig& gate) {
  if (gate.kind == merge::GateKind::fixed) return HfConfig::DeletionType::fixed;
  if (gate.kind == merge::GateKind::random) return HfConfig::DeletionType::random;
  return gate.activation == merge::GateActivation::log_sigmoid ? HfConfig::DeletionType::log_sigmoid
                                                               : HfConfig::DeletionType::scaled_sigmoid;
}

}  // namespace detail

/// The model that a config.json describes.
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
  config.pad = hf.pad_token_id;
  config.end = hf.eos_token_id;
  config.start = hf.decoder_start_token_id;
  config.pooling = hf.pooling;
  if (hf.merganser && hf.merganser->score_bound != HfConfig::ScoreBound::none)
    stack.score_bound = {hf.merganser->score_bound == HfConfig::ScoreBound::soft_cap ? nn::ScoreBoundKind::soft_cap
                                                                                     : nn::ScoreBoundKind::normalised,
                         hf.merganser->score_bound_value.value_or(0.0)};
  if (hf.model_type == HfConfig::ModelType::mrt5) {
    std::vector<Index> blocks;
    if (hf.merganser) blocks = hf.merganser->gate_blocks;
    if (blocks.empty()) blocks.push_back(*hf.delete_gate_layer);
    for (const Index block : blocks) config.gates.push_back(detail::gate_from_hf(hf, block));
  }
  return config;
}

/// The config.json that describes a model.
/// @throws std::invalid_argument if its gates differ in more than their block or a fixed gate has separators of its
/// own, which the format cannot say
template <class Config>
HfConfig hf_config(const Config& config) {
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
  hf.pad_token_id = config.pad;
  hf.eos_token_id = config.end;
  hf.decoder_start_token_id = config.start;
  if (config.pooling) hf.pooling = detail::used_settings(*config.pooling);
  HfConfig::Extension extension;
  if (stack.score_bound.kind != nn::ScoreBoundKind::none) {
    extension.score_bound = stack.score_bound.kind == nn::ScoreBoundKind::soft_cap ? HfConfig::ScoreBound::soft_cap
                                                                                   : HfConfig::ScoreBound::normalised;
    extension.score_bound_value = stack.score_bound.value;
  }
  if (!config.gates.empty()) {
    const merge::GateConfig& first = config.gates.front();
    hf.model_type = HfConfig::ModelType::mrt5;
    hf.delete_gate_layer = first.block;
    hf.sigmoid_mask_scale = first.scale;
    hf.deletion_threshold = first.effective_threshold();
    hf.deletion_type = detail::deletion_type_of(first);
    hf.gate_layer_norm = first.norm == merge::GateNorm::rms;
    hf.use_gumbel_noise = first.noise == merge::GateNoise::gumbel;
    if (first.kind == merge::GateKind::fixed) hf.fixed_deletion_amount = first.rate;
    if (first.kind == merge::GateKind::random) hf.random_deletion_probability = first.rate;
    for (const merge::GateConfig& gate : config.gates) {
      const bool same = gate.kind == first.kind && gate.activation == first.activation && gate.scale == first.scale &&
                        gate.effective_threshold() == first.effective_threshold() && gate.norm == first.norm &&
                        gate.noise == first.noise && gate.rate == first.rate && gate.separators == first.separators;
      check_argument(same, "hf_config", "gates", "gates that differ", "gates that differ in their block only");
      check_argument(gate.kind != merge::GateKind::fixed || gate.separators == data::ByteTokenizer::separator_ids(),
                     "hf_config", "separators of a fixed gate", "other ids", "those of the byte tokenizer");
      if (config.gates.size() > 1) extension.gate_blocks.push_back(gate.block);
    }
  }
  if (!(extension == HfConfig::Extension{})) hf.merganser = extension;
  return hf;
}

/// How `load_model` and `load_for_inference` read.
struct LoadModelOptions {
  Mapping mapping = Mapping::mapped;  ///< of the weight files; a mapped one needs memory for the model alone
  NonFinite non_finite = NonFinite::refuse;
  MissingGateKeys missing;  ///< for a MrT5 whose config.json lacks keys
};

namespace detail {

/// The tensors that a model may have besides its parameters.
inline LoadOptions hf_tensor_rules(const HfConfig& hf, NonFinite non_finite) {
  LoadOptions options{.non_finite = non_finite};
  // In the first published T5: a table that nothing reads.
  options.ignored = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
  for (const char* alias : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
    options.aliases.push_back({alias, "shared.weight"});
  if (hf.tie_word_embeddings) options.aliases.push_back({"lm_head.weight", "shared.weight"});
  return options;
}

/// Refuses a config.json whose model is far larger than its weight files, before memory is taken for it.
inline void check_model_size(const HfConfig& hf, const std::string& config_file, const TensorTable& table) {
  const auto number = [](Index value) { return static_cast<double>(value); };
  const double width = number(hf.d_model), inner = number(hf.num_heads) * number(hf.d_kv);
  const double feed_forward = (hf.feed_forward_proj == HfConfig::FeedForward::relu ? 2 : 3) * width * number(hf.d_ff);
  const double positions = hf.has_absolute_position_embeddings
                               ? number(hf.max_position_embeddings.value_or(0)) * width
                               : number(hf.relative_attention_num_buckets) * number(hf.num_heads);
  const bool strided = hf.pooling && hf.pooling->kind == merge::PoolingKind::strided;
  const double convolution = strided ? width * width * number(hf.pooling->rate) : 0.0;
  const double parameters = number(hf.vocab_size) * width + 2 * positions + convolution +
                            number(hf.num_layers) * (4 * width * inner + feed_forward) +
                            number(hf.num_decoder_layers) * (8 * width * inner + feed_forward);
  double stored = 0;
  for (const std::string& name : table.names()) stored += number(table.tensor(name).size());
  // Small differences get the better message of the first tensor that does not fit.
  constexpr double slack = 1 << 24;
  if (parameters > 4 * stored + slack) {
    std::ostringstream got, expected;
    got << "a model of " << parameters << " parameters";
    expected << "about the " << stored << " numbers in " << table.file_name();
    throw IoError(config_file, "sizes", got.str(), expected.str());
  }
  // The smallest blocks take far more memory than their few parameters.
  constexpr std::size_t block_slack = 1000;
  const Index blocks = hf.num_layers + hf.num_decoder_layers;
  if (std::cmp_greater(blocks, table.names().size() + block_slack))
    throw IoError(config_file, "sizes", "a model of " + std::to_string(blocks) + " blocks",
                  "fewer than the " + std::to_string(table.names().size()) + " tensors in " + table.file_name());
}

/// A model of some files whose weights `fill(model, table, rules)` reads.
template <Real Scalar, class Fill>
models::EncoderDecoder<Scalar> model_of_files(const ModelFiles& files, const LoadModelOptions& options,
                                              nn::Weights weights, Fill fill) {
  const std::string config_path = files.path_of(config_file_name);
  const HfConfig hf = parse_hf_config(files.config, config_path, options.missing);
  const TensorTable table = open_weights(files);
  check_model_size(hf, config_path, table);
  try {
    models::EncoderDecoder<Scalar> model(model_config<Scalar>(hf), weights);
    fill(model, table, hf_tensor_rules(hf, options.non_finite));
    return model;
  } catch (const std::invalid_argument& error) {
    throw IoError(config_path, "model", error.what(), "sizes that make a model");
  }
}

}  // namespace detail

/// Makes the model of some files (see `ModelFiles`), which may have come from anywhere; `options.mapping` plays no part
/// then. The model is a copy: once it is made, no buffer is needed any more. docs/formats.md says what is read and
/// every error.
/// @throws IoError if the config or the weights are damaged, or they do not fit each other
template <Real Scalar>
models::EncoderDecoder<Scalar> load_model(const ModelFiles& files, const LoadModelOptions& options = {}) {
  return detail::model_of_files<Scalar>(files, options, nn::Weights::zeros,
                                        [](auto& model, const TensorTable& table, const LoadOptions& rules) {
                                          detail::load_fresh_parameters(model, table, "", rules);
                                        });
}

/// Reads a model directory, ours or not: `config.json` of a T5, ByT5, mT5 or MrT5 or of one with a pooling (BPT5,
/// CANINE), and `model.safetensors` or the shards of `model.safetensors.index.json`.
/// @throws IoError if a file is missing, or as the other form
template <Real Scalar>
models::EncoderDecoder<Scalar> load_model(const std::filesystem::path& directory,
                                          const LoadModelOptions& options = {}) {
  return load_model<Scalar>(open_model_files(directory, options.mapping), options);
}

/// As `load_model`, for a model that will only run: it comes prepared for inference (see
/// `EncoderDecoder::prepare_for_inference`), and can no longer be trained or saved.
///
/// Its weights keep the precision of their files: BF16 and F16 take two bytes a number in memory as well; F64 becomes
/// float. Each goes from its file into the layout of the kernels by itself, so that loading a mapped file takes little
/// more memory than the file has bytes. Results have the bits of the model that `load_model` makes of the same files. A
/// double has no short form: with Scalar = double all weights are double.
/// @throws IoError as `load_model`
template <Real Scalar>
models::EncoderDecoder<Scalar> load_for_inference(const ModelFiles& files, const LoadModelOptions& options = {}) {
  return detail::model_of_files<Scalar>(files, options, nn::Weights::absent,
                                        [](auto& model, const TensorTable& table, const LoadOptions& rules) {
                                          detail::load_packed_parameters(model, table, rules);
                                        });
}

template <Real Scalar>
models::EncoderDecoder<Scalar> load_for_inference(const std::filesystem::path& directory,
                                                  const LoadModelOptions& options = {}) {
  return load_for_inference<Scalar>(open_model_files(directory, options.mapping), options);
}

/// Writes `directory`/config.json and the weights (see `save_weights`), each file whole or not at all; makes the
/// directory.
/// @throws IoError if something cannot be written
/// @throws std::invalid_argument if no config.json describes the model or its weights do not fit the format; nothing is
/// written then
template <Real Scalar>
void save_model(const models::EncoderDecoder<Scalar>& model, const std::filesystem::path& directory,
                const WeightFormat& format = {}) {
  const std::string config = to_json(hf_config(model.config()));
  detail::plan_shards(model, "", format);  // throws before the directory is made
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw IoError(directory.string(), "directory", error.message(), "a directory that can be made");
  save_weights(model, directory, format);
  write_file_atomically(directory / "config.json", config);
}

}  // namespace merganser::io
