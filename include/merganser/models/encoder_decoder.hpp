// The whole model: embedding, encoder with gates, decoder, head.
#pragma once

#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/memory_reserve.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/models/decoder.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/model_output.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include <merganser/nn/embedding.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// Where the logits come from.
enum class Head {
  untied,  ///< a linear map of its own (lm_head)
  tied,    ///< the embedding table
};

/// What the head reads.
enum class HeadInput {
  by_head,   ///< scaled if the head is tied, as T5 does
  unscaled,  ///< decoder outputs as they are
  scaled,    ///< decoder outputs times D^-0.5
};

/// The decoder's input for given labels: shifted right by one, `start` first, ignored labels replaced by `pad`, or by
/// `start` where there is no pad.
/// @throws std::invalid_argument if the labels are not as many as their offsets say
inline TokenBatch shift_right(const TokenBatch& labels, TokenId start, TokenId pad) {
  check_equal("shift_right", "labels.ids.size()", labels.ids.size(), labels.total());
  const TokenId instead = pad == no_pad ? start : pad;
  TokenBatch shifted = labels;
  for (Index i = 0; i < labels.count(); ++i) {
    for (Index t = labels.offsets.end(i) - 1; t > labels.offsets.begin(i); --t) {
      const TokenId before = labels.ids[t - 1];
      shifted.ids[t] = before == ignored_label ? instead : before;
    }
    if (labels.offsets.length(i) > 0) shifted.ids[labels.offsets.begin(i)] = start;
  }
  return shifted;
}

/// A T5 encoder-decoder; with delete gates among its policies MrT5 (Kallini et al. 2025, arXiv 2410.20771), with a
/// pooling one of its baselines.
///
/// Ids are any numbers below `vocabulary`. Source ids equal to `pad`, if any, are as if they were not there, but in
/// their positions; ragged batches need no pads. Thread-safe while nobody writes to the parameters.
template <Real Scalar>
class EncoderDecoder {
 public:
  using ScalarType = Scalar;
  using Gradients = EncoderDecoder;

  struct Config {
    Index vocabulary = 384;
    StackConfig encoder;
    Index decoder_blocks = 1;  ///< all other sizes are the encoder's
    Head head = Head::untied;
    HeadInput head_input = HeadInput::by_head;
    TokenId pad = 0;    ///< or `no_pad`
    TokenId end = 1;    ///< ends a generated sequence
    TokenId start = 0;  ///< the decoder's first input

    /// Whether decoder outputs are multiplied by D^-0.5 on their way to the head.
    bool scales_head_input() const {
      return head_input == HeadInput::by_head ? head == Head::tied : head_input == HeadInput::scaled;
    }
  };

  struct Cache {
    typename nn::Embedding<Scalar>::Cache source_ids, target_ids;
    Vector<std::uint8_t> forced;
    typename Encoder<Scalar>::Cache encoder;
    EncoderOutput<Scalar> encoded;
    typename Decoder<Scalar>::Cache decoder;
    Matrix<Scalar> head_input;  ///< [L x D]
  };

  using Output = ModelOutput<Scalar>;  ///< logits [L x V]
  using OutputGradients = ModelOutputGradients<Scalar>;

  /// What may accompany a batch.
  struct ForwardOptions {
    merge::DeletionOptions deletion;
    Marks hidden = {};                   ///< [T] or none: where nobody may look (attention mask of padded input)
    std::optional<double> excess_limit;  ///< training: measure score_excess above this limit
    Rng* rng = nullptr;                  ///< inference: needed by random gates
  };

  EncoderDecoder() = default;

  /// Policies shorten the sequences in the encoder, and can be set later, too: `encoder.policies`. With absent weights,
  /// those that `prepare_for_inference` would pack are left to be brought by a visitor (see
  /// `nn::Weight::visit`), as `io::load_for_inference` does; the others are there as always.
  explicit EncoderDecoder(const Config& config, Vector<merge::Placement<Scalar>> policies = {},
                          nn::Weights weights = nn::Weights::zeros);

  /// T5 (Raffel et al. 2020), all times `factor`: head with D^-0.5 when it is untied, norms 1. T5's embedding has a
  /// deviation of 1; with a smaller one attention speaks up, and learns to copy, some hundred steps sooner.
  void initialize(Rng& rng, double factor = 1.0, double embedding_deviation = 0.3) {
    const double head = factor / std::sqrt(static_cast<double>(config_.encoder.width));
    shared.initialize(factor * embedding_deviation, rng);
    encoder.initialize(factor, rng);
    decoder.initialize(factor, rng);
    if (config_.head == Head::untied) lm_head.initialize(head, rng);
  }

  /// Lays all weights out for the kernels, once, in the place of the matrices: the model then runs faster, to the same
  /// bits in full precision, and can no longer be trained or saved. In bfloat16 the weights of the blocks and the head
  /// take half the memory and are read in half the time, while all arithmetic stays in float.
  void prepare_for_inference(kernels::Precision precision = kernels::Precision::full) {
    encoder.prepare_for_inference(precision);
    decoder.prepare_for_inference(precision);
    if (config_.head == Head::tied)
      lm_head = nn::Linear<Scalar>(nn::Weight<Scalar>::packed_from(shared.weight, precision));
    else
      lm_head.prepare_for_inference(precision);
    MemoryReserve::clear();  // calls have no use for the memory of the matrices
  }

  /// Runs the encoder over N sequences of ids.
  EncoderOutput<Scalar> encode(const TokenBatch& source, const ForwardOptions& options = {}) const;

  /// Logits [L x V] for N target sequences given what the encoder handed on.
  Matrix<Scalar> decode(const TokenBatch& decoder_input, const EncoderOutput<Scalar>& encoded) const {
    return head(decoder.forward({shared.forward(decoder_input.ids), decoder_input.offsets}, encoded));
  }

  /// source: N sequences; decoder_input: N sequences (labels shifted right, see `shift_right`).
  Output forward(const TokenBatch& source, const TokenBatch& decoder_input, const ForwardOptions& options = {}) const {
    Output output;
    output.encoded = encode(source, options);
    output.logits = decode(decoder_input, output.encoded);
    return output;
  }

  /// Training: dropout, gate noise and random gates draw from `rng`.
  Output forward(const TokenBatch& source, const TokenBatch& decoder_input, const ForwardOptions& options, Rng& rng,
                 Cache& cache) const;

  /// The same for every model that trains: `target` holds the labels, which the decoder reads shifted right by one.
  Output forward_targets(const TokenBatch& source, const TokenBatch& target, const ForwardOptions& options, Rng& rng,
                         Cache& cache) const {
    return forward(source, shift_right(target, config_.start, config_.pad), options, rng, cache);
  }
  Output forward_targets(const TokenBatch& source, const TokenBatch& target, const ForwardOptions& options) const {
    return forward(source, shift_right(target, config_.start, config_.pad), options);
  }

  /// Adds the parameter gradients of a loss to `gradients`.
  void backward(const OutputGradients& grad, const Cache& cache, Gradients& gradients) const;

  /// Behind the decoder: hidden [L x D] to logits [L x V].
  Matrix<Scalar> head(const Matrix<Scalar>& hidden) const {
    if (!config_.scales_head_input()) return head_map(hidden);
    const Matrix<Scalar> scaled = hidden * head_scale();
    return head_map(scaled);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    shared.visit(visitor, prefix + "shared.");
    encoder.visit(visitor, prefix + "encoder.");
    decoder.visit(visitor, prefix + "decoder.");
    if (config_.head == Head::untied) lm_head.visit(visitor, prefix + "lm_head.");
  }

  const Config& config() const { return config_; }

  nn::Embedding<Scalar> shared;
  Encoder<Scalar> encoder;
  Decoder<Scalar> decoder;
  nn::Linear<Scalar> lm_head;  ///< empty when tied and not prepared for inference

 private:
  static StackConfig decoder_config(const Config& config) {
    StackConfig stack = config.encoder;
    stack.blocks = config.decoder_blocks;
    return stack;
  }

  Matrix<Scalar> head_map(const Matrix<Scalar>& x) const {
    const bool own = config_.head == Head::untied || lm_head.weight.is_packed();
    return own ? lm_head.forward(x) : tied_head().forward(x);
  }

  Scalar head_scale() const { return Scalar{1} / std::sqrt(static_cast<Scalar>(config_.encoder.width)); }

  nn::Linear<Scalar> tied_head() const { return nn::Linear<Scalar>(nn::Weight<Scalar>(shared.weight)); }

  /// Attention layers whose excess counts: encoder blocks from the first gate on, and all cross-attentions.
  double penalised_layers(const Cache& cache) const {
    return static_cast<double>(encoder.excess_means(cache.encoder).size() + decoder.blocks.size());
  }

  Config config_;
};

template <Real Scalar>
auto EncoderDecoder<Scalar>::forward(const TokenBatch& source, const TokenBatch& decoder_input,
                                     const ForwardOptions& options, Rng& rng, Cache& cache) const -> Output {
  cache.forced = mark_ids(source.ids, config_.pad);
  cache.encoder.excess_limit = cache.decoder.excess_limit = options.excess_limit;
  EncoderInput<Scalar> input{
      {shared.forward(source.ids, cache.source_ids), source.offsets}, source.ids, options.hidden, cache.forced, &rng};
  cache.encoded = encoder.forward(input, options.deletion, rng, cache.encoder);
  const RaggedBatch<Scalar> target(shared.forward(decoder_input.ids, cache.target_ids), decoder_input.offsets);
  cache.head_input = decoder.forward(target, cache.encoded, rng, cache.decoder);
  if (config_.scales_head_input()) cache.head_input *= head_scale();
  Output output;
  output.logits =
      config_.head == Head::tied ? tied_head().forward(cache.head_input) : lm_head.forward(cache.head_input);
  output.encoded = cache.encoded;
  if (options.excess_limit) {
    const Vector<double> encoder_means = encoder.excess_means(cache.encoder);
    const Vector<double> decoder_means = decoder.excess_means(cache.decoder);
    const double sum = std::accumulate(encoder_means.begin(), encoder_means.end(), 0.0) +
                       std::accumulate(decoder_means.begin(), decoder_means.end(), 0.0);
    output.score_excess = sum / penalised_layers(cache);
  }
  return output;
}

template <Real Scalar>
void EncoderDecoder<Scalar>::backward(const OutputGradients& grad, const Cache& cache, Gradients& gradients) const {
  Matrix<Scalar> grad_hidden;
  if (config_.head == Head::tied) {
    nn::Linear<Scalar> table(nn::Weight<Scalar>(std::move(gradients.shared.weight)));
    grad_hidden = tied_head().backward(grad.logits, cache.head_input, table);
    gradients.shared.weight = std::move(table.weight.matrix());
  } else {
    grad_hidden = lm_head.backward(grad.logits, cache.head_input, gradients.lm_head);
  }
  if (config_.scales_head_input()) grad_hidden *= head_scale();
  const double excess_weight = grad.score_excess == 0 ? 0.0 : grad.score_excess / penalised_layers(cache);
  auto decoded = decoder.backward(grad_hidden, cache.encoded, excess_weight, cache.decoder, gradients.decoder);
  shared.backward(decoded.embedded, cache.target_ids, gradients.shared);
  if (cache.encoded.hidden.total() == 0) {  // nobody read the encoder, but it may be penalised all the same
    if (excess_weight == 0 && grad.reports.empty()) return;
    decoded.memory.setZero(cache.encoder.states.back().total(), config_.encoder.width);
  }
  const Matrix<Scalar> grad_source =
      encoder.backward(decoded.memory, decoded.key_bias, grad.reports, excess_weight, cache.encoder, gradients.encoder);
  shared.backward(grad_source, cache.source_ids, gradients.shared);
}

template <Real Scalar>
EncoderDecoder<Scalar>::EncoderDecoder(const Config& config, Vector<merge::Placement<Scalar>> policies,
                                       nn::Weights weights)
    : shared({config.vocabulary, config.encoder.width}),
      encoder(config.encoder, std::move(policies), weights),
      decoder(decoder_config(config), weights),
      config_(config) {
  if (config.head == Head::untied) lm_head = nn::Linear<Scalar>({config.encoder.width, config.vocabulary}, weights);
}

template <Real Scalar>
EncoderOutput<Scalar> EncoderDecoder<Scalar>::encode(const TokenBatch& source, const ForwardOptions& options) const {
  const Vector<std::uint8_t> forced = mark_ids(source.ids, config_.pad);
  EncoderInput<Scalar> input{
      {shared.forward(source.ids), source.offsets}, source.ids, options.hidden, forced, options.rng};
  return encoder.forward(input, options.deletion);
}

#if MERGANSER_COMPILED
extern template class EncoderDecoder<float>;
#endif

}  // namespace merganser::models
