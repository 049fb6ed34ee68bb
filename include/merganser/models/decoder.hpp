// The decoder: a stack of causal blocks that read the encoder's survivors.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/decoder_block.hpp>
#include <merganser/models/decoder_state.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/position_encoding.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// A stack of decoder blocks between embedding and head.
template <Real Scalar>
class Decoder {
 public:
  using ScalarType = Scalar;
  using Gradients = Decoder;
  using Config = StackConfig;
  using Context = nn::AttentionContext<Scalar>;

  struct Cache {
    SequenceOffsets offsets;
    Vector<Position> positions;
    Vector<typename DecoderBlock<Scalar>::Cache> blocks;
    typename nn::RmsNorm<Scalar>::Cache final_norm;
    typename nn::Dropout<Scalar>::Cache input_dropout, output_dropout;
    typename PositionEncoding<Scalar>::Cache absolute;
    nn::DistanceBias<Scalar> position_bias;
    std::optional<double> excess_limit;
  };

  struct InputGradients {
    Matrix<Scalar> embedded;  ///< [L x D]
    Matrix<Scalar> memory;    ///< [T' x D]
    Vector<Scalar> key_bias;  ///< [T']; empty when there was none
  };

  Decoder() = default;

  explicit Decoder(const Config& config, nn::Weights weights = nn::Weights::zeros)
      : position(config, nn::Direction::backward),
        blocks(Vector<DecoderBlock<Scalar>>::made_of(config.blocks, config, weights)),
        final_norm({config.width, config.norm_epsilon}),
        config_(config),
        dropout_({config.dropout}) {}

  void initialize(double factor, Rng& rng) {
    position.initialize(factor, rng);
    for (DecoderBlock<Scalar>& block : blocks) block.initialize(factor, rng);
  }

  void prepare_for_inference(kernels::Precision precision) {
    for (DecoderBlock<Scalar>& block : blocks) block.prepare_for_inference(precision);
  }

  /// embedded [L x D] of N sequences, attending to the N sequences of `memory`; result [L x D] behind the final norm.
  Matrix<Scalar> forward(const RaggedBatch<Scalar>& embedded, const EncoderOutput<Scalar>& memory) const {
    check_batch(embedded, memory);
    Matrix<Scalar> x = embedded.values;
    position.add(x, embedded.positions, nullptr);
    const nn::DistanceBias<Scalar> bias = position.bias(embedded.positions);
    const Context self = self_context(embedded.offsets, embedded.positions, bias);
    const Context cross = cross_context(embedded.offsets, memory);
    for (const DecoderBlock<Scalar>& block : blocks) x = block.forward(x, self, memory.hidden.values, cross);
    return final_norm.forward(x);
  }

  Matrix<Scalar> forward(const RaggedBatch<Scalar>& embedded, const EncoderOutput<Scalar>& memory, Rng& rng,
                         Cache& cache) const {
    check_batch(embedded, memory);
    cache.offsets = embedded.offsets;
    cache.positions = embedded.positions;
    cache.blocks.resize(blocks.size());
    Matrix<Scalar> x = embedded.values;
    position.add(x, embedded.positions, &cache.absolute);
    cache.position_bias = position.bias(embedded.positions);
    dropout_.apply(x, rng, cache.input_dropout);
    const Context self = self_context(cache.offsets, cache.positions, cache.position_bias);
    Context cross = cross_context(cache.offsets, memory);
    if (cache.excess_limit) cross.excess_limit = &*cache.excess_limit;
    for (Index b = 0; b < blocks.size(); ++b)
      x = blocks[b].forward(x, self, memory.hidden.values, cross, rng, cache.blocks[b]);
    x = final_norm.forward(x, cache.final_norm);
    dropout_.apply(x, rng, cache.output_dropout);
    return x;
  }

  /// grad_hidden [L x D]; excess_weight: gradient of the loss with respect to each cross-attention's mean excess.
  InputGradients backward(const Matrix<Scalar>& grad_hidden, const EncoderOutput<Scalar>& memory, double excess_weight,
                          const Cache& cache, Gradients& gradients) const;

  /// The mean over all heads and pairs of max(score - limit, 0), for the cross-attention of each block.
  Vector<double> excess_means(const Cache& cache) const {
    Vector<double> means;
    for (const auto& block : cache.blocks) means.push_back(Encoder<Scalar>::mean_excess(block.cross_attention));
    return means;
  }

  /// The state of N sequences before their first token, which may reach `limit` tokens each; keys and values of the
  /// memory are projected here, once. The state takes memory as it grows.
  DecoderState<Scalar> start(const EncoderOutput<Scalar>& memory, Index limit) const;

  /// The next token of each sequence: embedded [N x D] to [N x D] behind the final norm. The state grows by one token.
  /// @throws std::invalid_argument if the state is full
  Matrix<Scalar> step(const Matrix<Scalar>& embedded, DecoderState<Scalar>& state) const;

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    position.visit(visitor, prefix);
    for (Index b = 0; b < blocks.size(); ++b) blocks[b].visit(visitor, prefix + "block." + std::to_string(b) + ".");
    final_norm.visit(visitor, prefix + "final_layer_norm.");
  }

  const Config& config() const { return config_; }

  PositionEncoding<Scalar> position;
  Vector<DecoderBlock<Scalar>> blocks;
  nn::RmsNorm<Scalar> final_norm;

 private:
  void check_batch(const RaggedBatch<Scalar>& embedded, const EncoderOutput<Scalar>& memory) const {
    check_equal("Decoder::forward", "embedded.values.cols()", embedded.values.cols(), config_.width);
    check_equal("Decoder::forward", "memory.count()", memory.hidden.count(), embedded.count());
  }

  static Context self_context(const SequenceOffsets& offsets, std::span<const Position> positions,
                              const nn::DistanceBias<Scalar>& bias) {
    Context context;
    context.queries = context.keys = offsets.ranges();
    context.query_positions = context.key_positions = positions;
    if (bias.values.size() > 0) context.position_bias = &bias;
    context.visibility = nn::Visibility::causal;
    return context;
  }

  static Context cross_context(const SequenceOffsets& offsets, const EncoderOutput<Scalar>& memory) {
    Context context;
    context.queries = offsets.ranges();
    context.keys = memory.hidden.offsets.ranges();
    context.key_bias = memory.key_bias;
    context.hidden_keys = memory.hidden_keys;
    return context;
  }

  Config config_;
  nn::Dropout<Scalar> dropout_;
};

template <Real Scalar>
auto Decoder<Scalar>::backward(const Matrix<Scalar>& grad_hidden, const EncoderOutput<Scalar>& memory,
                               double excess_weight, const Cache& cache, Gradients& gradients) const -> InputGradients {
  InputGradients result;
  Matrix<Scalar> grad = grad_hidden;
  dropout_.backward(grad, cache.output_dropout);
  grad = final_norm.backward(grad, cache.final_norm, gradients.final_norm);
  const Context self = self_context(cache.offsets, cache.positions, cache.position_bias);
  Context cross = cross_context(cache.offsets, memory);
  if (cache.excess_limit) cross.excess_limit = &*cache.excess_limit;
  nn::DistanceBias<Scalar> grad_bias{
      Matrix<Scalar>::Zero(cache.position_bias.values.rows(), cache.position_bias.values.cols()),
      cache.position_bias.radius};
  result.memory = Matrix<Scalar>::Zero(memory.hidden.values.rows(), memory.hidden.values.cols());
  result.key_bias.assign(memory.key_bias.size(), Scalar{0});
  for (Index b = blocks.size(); b-- > 0;) {
    const double pairs = cache.blocks[b].cross_attention.pairs;
    auto inner =
        blocks[b].backward(grad, self, cross, cache.blocks[b], gradients.blocks[b],
                           grad_bias.values.size() > 0 ? &grad_bias : nullptr, pairs > 0 ? excess_weight / pairs : 0.0);
    grad = std::move(inner.x);
    result.memory += inner.memory;
    std::transform(inner.key_bias.begin(), inner.key_bias.end(), result.key_bias.begin(), result.key_bias.begin(),
                   std::plus<>());
  }
  dropout_.backward(grad, cache.input_dropout);
  position.backward(grad, grad_bias, cache.absolute, gradients.position);
  result.embedded = std::move(grad);
  return result;
}

template <Real Scalar>
DecoderState<Scalar> Decoder<Scalar>::start(const EncoderOutput<Scalar>& memory, Index limit) const {
  constexpr Index first_capacity = 64;
  DecoderState<Scalar> state;
  state.sequences = memory.hidden.count();
  state.limit = limit;
  state.capacity = std::min(limit, first_capacity);
  state.memory = memory.hidden.offsets.ranges();
  state.key_bias = memory.key_bias;
  state.hidden_keys = memory.hidden_keys;
  state.position_bias = position.bias_up_to(state.capacity);
  const Matrix<Scalar> no_rows(0, config_.heads * config_.head_width);
  for (const DecoderBlock<Scalar>& block : blocks) {
    state.self.push_back({no_rows, no_rows, {}});
    nn::KeyValues<Scalar> cross = block.cross_attention.project(memory.hidden.values);
    cross.packed = nn::PackedKeys<Scalar>(cross.keys, config_.heads, state.memory);
    state.cross.push_back(std::move(cross));
  }
  state.reserve(state.sequences);
  return state;
}

template <Real Scalar>
Matrix<Scalar> Decoder<Scalar>::step(const Matrix<Scalar>& embedded, DecoderState<Scalar>& state) const {
  check_equal("Decoder::step", "embedded.rows()", embedded.rows(), state.sequences);
  check_argument(state.length < state.limit, "Decoder::step", "state.length", state.length,
                 "less than the limit of the state");
  if (state.length == state.capacity) {
    state.lengthen();
    state.position_bias = position.bias_up_to(state.capacity);
  }
  const Vector<Position> now(state.sequences, static_cast<Position>(state.length));
  Context self, cross;
  Vector<Index> new_rows;
  for (Index n = 0; n < state.sequences; ++n) {
    self.queries.push_back({n, 1});
    self.keys.push_back({n * state.capacity, state.length + 1});
    new_rows.push_back(n * state.capacity + state.length);
    const RowRange& read = state.memory[n];
    if (!cross.keys.empty() && cross.keys.back() == read) {
      ++cross.queries.back().length;  // neighbours that read the same rows, as the beams of one source do
    } else {
      cross.queries.push_back({n, 1});
      cross.keys.push_back(read);
    }
  }
  self.query_positions = now;
  self.key_positions = state.key_positions;
  if (state.position_bias.values.size() > 0) self.position_bias = &state.position_bias;
  cross.key_bias = state.key_bias;
  cross.hidden_keys = state.hidden_keys;
  Matrix<Scalar> x = embedded;
  position.add(x, now, nullptr);
  for (Index b = 0; b < blocks.size(); ++b) x = blocks[b].step(x, self, state.self[b], new_rows, state.cross[b], cross);
  ++state.length;
  return final_norm.forward(x);
}

#if MERGANSER_COMPILED
extern template class Decoder<float>;
#endif

}  // namespace merganser::models
