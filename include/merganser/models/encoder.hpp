// The encoder: positions, a stack of blocks with policies that shorten the sequences, a norm.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/models/block_stack.hpp>
#include <merganser/models/encoder_output.hpp>
#include <merganser/models/position_encoding.hpp>
#include <merganser/models/stack_config.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// A stack of encoder blocks (`blocks`) with policies (`policies`) on entry to any of them or behind their attention: a
/// delete gate, a pooling, or any other that `merge::Policy` holds.
///
/// Position bias comes from the original positions, before and after deletion. Thread-safe while nobody writes to the
/// parameters. Kallini et al. 2025, arXiv 2410.20771, section 3.
template <Real Scalar>
class Encoder : public BlockStack<Scalar> {
 public:
  using ScalarType = Scalar;
  using Gradients = Encoder;
  using Config = StackConfig;
  using Stack = BlockStack<Scalar>;
  using State = merge::TokenState<Scalar>;

  struct Cache : Stack::Cache {
    typename nn::RmsNorm<Scalar>::Cache final_norm;
    typename nn::Dropout<Scalar>::Cache input_dropout, output_dropout;
    typename PositionEncoding<Scalar>::Cache positions;
  };

  Encoder() = default;

  /// @throws std::invalid_argument if a policy stands at a block that does not exist
  explicit Encoder(const Config& config, Vector<merge::Placement<Scalar>> placements = {},
                   nn::Weights weights = nn::Weights::zeros)
      : Stack(config, std::move(placements), weights),
        position(config, nn::Direction::both),
        final_norm({config.width, config.norm_epsilon}),
        config_(config),
        dropout_({config.dropout}) {}

  /// T5 initialisation times `factor`.
  void initialize(double factor, Rng& rng) {
    position.initialize(factor, rng);
    for (EncoderBlock<Scalar>& block : this->blocks) block.initialize(factor, rng);
    for (merge::Placement<Scalar>& placement : this->policies) placement.policy.initialize(factor, rng);
  }

  /// Inference.
  EncoderOutput<Scalar> forward(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options) const {
    return run(input, options, input.rng, nullptr);
  }

  /// Training: dropout, noise, cache. `excess_limit` in the cache is set beforehand.
  EncoderOutput<Scalar> forward(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options, Rng& rng,
                                Cache& cache) const {
    return run(input, options, &rng, &cache);
  }

  /// grad_hidden [T' x D] and grad_key_bias [T'] or empty: gradients of what was handed on; reports: one a report, or
  /// none; excess_weight: gradient of the loss with respect to each penalised block's mean excess (see `excess_means`).
  /// Returns the gradient of the embedded input [T x D].
  Matrix<Scalar> backward(const Matrix<Scalar>& grad_hidden, std::span<const Scalar> grad_key_bias,
                          std::span<const merge::ReportGradient<Scalar>> reports, double excess_weight,
                          const Cache& cache, Gradients& gradients) const;

  /// The mean over all heads and pairs of max(score - limit, 0), for each block from the first gate on.
  Vector<double> excess_means(const Cache& cache) const {
    Vector<double> means;
    for (Index b = this->first_gated_block(); b < this->blocks.size(); ++b)
      means.push_back(mean_excess(cache.blocks[b].attention));
    return means;
  }

  static double mean_excess(const typename nn::MultiHeadAttention<Scalar>::Cache& attention) {
    return attention.pairs > 0 ? attention.excess / attention.pairs : 0.0;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    position.visit(visitor, prefix);
    Stack::visit(visitor, prefix);
    final_norm.visit(visitor, prefix + "final_layer_norm.");
  }

  const Config& config() const { return config_; }

  PositionEncoding<Scalar> position;
  nn::RmsNorm<Scalar> final_norm;

 private:
  /// Training with a cache, inference with a null pointer, whose code knows nothing of training and compiles sooner.
  template <class CachePointer>
  EncoderOutput<Scalar> run(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options, Rng* rng,
                            CachePointer cache) const;

  /// x [T' x D] behind the final norm, and what became of the tokens.
  static EncoderOutput<Scalar> hand_on(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options,
                                       typename Stack::Output passed, Matrix<Scalar> x);

  /// What the incoming tokens are: pads are hidden, too.
  static State start(const EncoderInput<Scalar>& input) {
    State state = State::start(input.embedded.offsets, input.embedded.positions);
    state.hidden.assign(input.hidden.list().begin(), input.hidden.list().end());
    state.forced.assign(input.forced.list().begin(), input.forced.list().end());
    add_marks(state.forced, state.hidden);
    return state;
  }

  Config config_;
  nn::Dropout<Scalar> dropout_;
};

template <Real Scalar>
template <class CachePointer>
EncoderOutput<Scalar> Encoder<Scalar>::run(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options,
                                           Rng* rng, CachePointer cache) const {
  constexpr bool training = !std::same_as<CachePointer, std::nullptr_t>;
  options.check();
  const RaggedBatch<Scalar>& embedded = input.embedded;
  check_input("Encoder::forward", input, config_.width);
  Matrix<Scalar> x = embedded.values;
  const nn::DistanceBias<Scalar> bias = position.bias(embedded.positions);
  if constexpr (training) {
    position.add(x, embedded.positions, &cache->positions);
    dropout_.apply(x, *rng, cache->input_dropout);
  } else {
    position.add(x, embedded.positions, nullptr);
  }
  auto passed = Stack::run(std::move(x), start(input), {options, input.ids, bias, rng}, cache);
  if constexpr (training) {
    x = final_norm.forward(passed.x, cache->final_norm);
    dropout_.apply(x, *rng, cache->output_dropout);
  } else {
    x = final_norm.forward(passed.x);
  }

  return hand_on(input, options, std::move(passed), std::move(x));
}

template <Real Scalar>
EncoderOutput<Scalar> Encoder<Scalar>::hand_on(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options,
                                               typename Stack::Output passed, Matrix<Scalar> x) {
  const RaggedBatch<Scalar>& embedded = input.embedded;
  EncoderOutput<Scalar> output;
  output.reports = std::move(passed.reports);
  if (options.mode == merge::DeletionMode::everything) {
    passed.alive.assign(passed.alive.size(), 0);
    const Vector<Index> none(embedded.count(), 0);
    output.hidden = RaggedBatch<Scalar>(Matrix<Scalar>(0, x.cols()), SequenceOffsets::from_lengths(none));
    output.group.assign(embedded.total(), -1);
  }
  output.deletion = merge::DeletionStatistics::count(embedded.offsets, passed.alive, input.forced);
  if (options.mode == merge::DeletionMode::everything) return output;
  State& state = passed.state;
  Vector<Position> positions;
  for (const Index row : state.origin) positions.push_back(embedded.positions[row]);
  output.hidden = RaggedBatch<Scalar>(std::move(x), state.offsets, std::move(positions));
  output.key_bias = std::move(state.key_bias);
  output.hidden_keys = std::move(state.hidden);
  output.deleted = std::move(state.deleted);
  output.origin = std::move(state.origin);
  output.group = std::move(passed.group);
  return output;
}

template <Real Scalar>
Matrix<Scalar> Encoder<Scalar>::backward(const Matrix<Scalar>& grad_hidden, std::span<const Scalar> grad_key_bias,
                                         std::span<const merge::ReportGradient<Scalar>> reports, double excess_weight,
                                         const Cache& cache, Gradients& gradients) const {
  Matrix<Scalar> grad = grad_hidden;
  dropout_.backward(grad, cache.output_dropout);
  grad = final_norm.backward(grad, cache.final_norm, gradients.final_norm);
  nn::DistanceBias<Scalar> grad_bias{
      Matrix<Scalar>::Zero(cache.position_bias.values.rows(), cache.position_bias.values.cols()),
      cache.position_bias.radius};
  grad = Stack::backward(std::move(grad), grad_key_bias, reports, excess_weight, cache, grad_bias, gradients);
  dropout_.backward(grad, cache.input_dropout);
  position.backward(grad, grad_bias, cache.positions, gradients.position);
  return grad;
}

#if MERGANSER_COMPILED
extern template class Encoder<float>;
#endif

}  // namespace merganser::models
