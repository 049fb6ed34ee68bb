// Loading a model directory: config.json beside the weight files, in the layout of Hugging Face.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/parameter_loading.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/hf_config.hpp>
#include <merganser/io/models/hf_model.hpp>
#include <merganser/io/models/inference_loading.hpp>
#include <merganser/io/models/model_files.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What to do with a directory whose tokenizer makes other ids than those of bytes, which this library can't make.
enum class ForeignTokenizer {
  refuse,  ///< an IoError
  accept,  ///< the caller has ids of that tokenizer
};

/// How `load_model` and `load_for_inference` read.
struct LoadModelOptions {
  Mapping mapping = Mapping::mapped;  ///< of the weight files; a mapped one needs memory for the model alone
  NonFinite non_finite = NonFinite::refuse;
  MissingGateKeys missing;  ///< for a MrT5 whose config.json lacks keys
  ForeignTokenizer foreign_tokenizer = ForeignTokenizer::refuse;
  NamedPolicies named_policies = {};  ///< for a model whose config.json names policies
  WarningCallback on_warning = {};    ///< told of everything that is passed over
};

namespace detail {

/// The tensors that a model may have besides its parameters.
inline LoadOptions hf_tensor_rules(const HfConfig& hf, const LoadModelOptions& given) {
  LoadOptions options;
  options.non_finite = given.non_finite;
  options.on_warning = given.on_warning;
  // In the first published T5: a table that nothing reads.
  options.ignored = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
  for (const char* alias : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
    options.aliases.push_back({alias, "shared.weight"});
  if (hf.tie_word_embeddings) options.aliases.push_back({"lm_head.weight", "shared.weight"});
  return options;
}

inline void check_tokenizer(const ModelFiles& files) {
  const auto refuse = [](const std::string& file, const std::string& field, const std::string& got) {
    throw IoError(
        file, field, got,
        "ByT5Tokenizer or none, as models here read bytes; whoever has ids of that tokenizer may load it with "
        "ForeignTokenizer::accept");
  };
  if (!files.foreign_tokenizer.empty())
    refuse(files.path_of(files.foreign_tokenizer), "file", "a tokenizer that makes no ids of bytes");
  std::string file = files.path_of(tokenizer_config_name), name;
  if (files.tokenizer_config) name = tokenizer_class(*files.tokenizer_config, file);
  if (name.empty()) name = tokenizer_class(files.config, file = files.path_of(config_file_name));
  if (!name.empty() && !reads_bytes(name)) refuse(file, "tokenizer_class", name);
}

/// A file may have a head of its own whatever its config.json says: transformers 5 always writes that it is tied.
inline void take_own_head(HfConfig& hf, const TensorTable& table) {
  const char* const head = "lm_head.weight";
  if (!table.contains(head)) return;
  for (const char* name : {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
    if (table.contains(name)) {
      if (!table.same_bits(head, name)) hf.tie_word_embeddings = false;
      return;
    }
}

/// Refuses a config.json whose model is far larger than its weight files, before memory is taken for it.
inline void check_model_size(const HfConfig& hf, const std::string& config_file, const TensorTable& table) {
  const auto number = [](Index value) { return static_cast<double>(value); };
  const double width = number(hf.d_model), inner = number(hf.num_heads) * number(hf.d_kv);
  const double feed_forward = (hf.feed_forward_proj == HfConfig::FeedForward::relu ? 2 : 3) * width * number(hf.d_ff);
  const double positions = hf.has_absolute_position_embeddings
                               ? number(hf.max_position_embeddings.value_or(0)) * width
                               : number(hf.relative_attention_num_buckets) * number(hf.num_heads);
  const bool strided = hf.pooling && hf.pooling->kind == PoolingKind::strided;
  const double convolution = strided ? width * width * number(hf.pooling->rate) : 0.0;
  const double parameters = number(hf.vocab_size) * width + 2 * positions + convolution +
                            number(hf.num_layers) * (4 * width * inner + feed_forward) +
                            number(hf.num_decoder_layers) * (8 * width * inner + feed_forward);
  double stored = 0;
  for (const std::string& name : table.names()) stored += number(table.tensor(name).size());
  // Small differences get the better message of the first tensor that does not fit.
  constexpr double slack = 1 << 24;
  if (parameters > 4 * stored + slack) {
    throw IoError(config_file, "sizes", "a model of " + to_text(parameters) + " parameters",
                  "about the " + to_text(stored) + " numbers in " + table.file_name());
  }
  // The smallest blocks take far more memory than their few parameters.
  constexpr std::size_t block_slack = 1000;
  const Index blocks = hf.num_layers + hf.num_decoder_layers;
  if (std::cmp_greater(blocks, table.names().size() + block_slack))
    throw IoError(config_file, "sizes", "a model of " + std::to_string(blocks) + " blocks",
                  "fewer than the " + std::to_string(table.names().size()) + " tensors in " + table.file_name());
}

/// A model of some files whose weights `fill(model, table, rules)` reads.
template <Real Scalar, nn::Weights weights, class Fill>
models::EncoderDecoder<Scalar> model_of_files(const ModelFiles& files, const LoadModelOptions& options, Fill fill) {
  const std::string config_path = files.path_of(config_file_name);
  HfConfig hf = parse_hf_config(files.config, config_path, options.missing, options.on_warning);
  if (options.foreign_tokenizer == ForeignTokenizer::refuse) check_tokenizer(files);
  const TensorTable table = open_weights(files);
  if (hf.tie_word_embeddings) take_own_head(hf, table);
  check_model_size(hf, config_path, table);
  try {
    const auto config = model_config<Scalar>(hf);
    models::EncoderDecoder<Scalar> model(
        config, placements_of<Scalar, weights>(policies_of(hf), config.encoder, options.named_policies), weights);
    fill(model, table, hf_tensor_rules(hf, options));
    return model;
  } catch (const std::invalid_argument& error) {
    throw IoError(config_path, "model", error.what(), "policies and sizes that make a model");
  }
}

}  // namespace detail

/// Makes the model of some files (see `ModelFiles`), which may have come from anywhere; `options.mapping` plays no part
/// then. The model is a copy: once it is made, no buffer is needed any more. docs/formats.md says what is read and
/// every error.
/// @throws IoError if the config or the weights are damaged, or they do not fit each other
template <Real Scalar>
models::EncoderDecoder<Scalar> load_model(const ModelFiles& files, const LoadModelOptions& options = {}) {
  return detail::model_of_files<Scalar, nn::Weights::zeros>(
      files, options, [](auto& model, const TensorTable& table, const LoadOptions& rules) {
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
  return detail::model_of_files<Scalar, nn::Weights::absent>(
      files, options, [](auto& model, const TensorTable& table, const LoadOptions& rules) {
        detail::load_packed_parameters(model, table, rules);
      });
}

template <Real Scalar>
models::EncoderDecoder<Scalar> load_for_inference(const std::filesystem::path& directory,
                                                  const LoadModelOptions& options = {}) {
  return load_for_inference<Scalar>(open_model_files(directory, options.mapping), options);
}

#if MERGANSER_COMPILED
extern template models::EncoderDecoder<float> load_model<float>(const ModelFiles&, const LoadModelOptions&);
extern template models::EncoderDecoder<float> load_model<float>(const std::filesystem::path&, const LoadModelOptions&);
extern template models::EncoderDecoder<float> load_for_inference<float>(const ModelFiles&, const LoadModelOptions&);
extern template models::EncoderDecoder<float> load_for_inference<float>(const std::filesystem::path&,
                                                                        const LoadModelOptions&);
#endif

}  // namespace merganser::io
