// The encoder: a stack of blocks with delete gates on entry to any of them, or a pooling on entry to one.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/token_pooling.hpp>
#include <merganser/models/encoder_batch.hpp>
#include <merganser/models/encoder_block.hpp>
#include <merganser/models/position_encoding.hpp>
#include <merganser/models/stack_config.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// A stack of encoder blocks. A gate on entry to block K deletes softly or hard for the blocks from K on; a pooling
/// there, which a stack has in place of gates, works in every deletion mode.
///
/// Position bias comes from the original positions, before and after deletion. Thread-safe while nobody writes to the
/// parameters. Kallini et al. 2025, arXiv 2410.20771, section 3.
template <Real Scalar>
class Encoder {
 public:
  using ScalarType = Scalar;
  using Gradients = Encoder;
  using Context = nn::AttentionContext<Scalar>;
  using State = merge::TokenState<Scalar>;

  struct Config {
    StackConfig stack;
    Vector<merge::GateConfig> gates;  ///< rising by block
    std::optional<merge::PoolingConfig> pooling = std::nullopt;
  };

  struct Cache {
    /// The states the tokens pass through: one at the start, one more behind each gate and the pooling.
    Vector<State> states;
    Vector<merge::DeletionStep<Scalar>> steps;          ///< one a gate applied
    Vector<typename merge::Gate<Scalar>::Cache> gates;  ///< one a gate applied
    typename merge::TokenPooling<Scalar>::Cache pooling;
    Vector<typename EncoderBlock<Scalar>::Cache> blocks;
    typename nn::RmsNorm<Scalar>::Cache final_norm;
    typename nn::Dropout<Scalar>::Cache input_dropout, output_dropout;
    typename PositionEncoding<Scalar>::Cache positions;
    nn::DistanceBias<Scalar> position_bias;
    std::optional<double> excess_limit;
    bool gated = false;  ///< whether gates were applied
  };

  Encoder() = default;

  /// @throws std::invalid_argument if a gate or pooling stands at a block that does not exist, two gates at one block,
  /// or there are both
  explicit Encoder(const Config& config, nn::Weights weights = nn::Weights::zeros);

  /// T5 initialisation times `factor`.
  void initialize(double factor, Rng& rng) {
    position.initialize(factor, rng);
    for (EncoderBlock<Scalar>& block : blocks) block.initialize(factor, rng);
    for (merge::Gate<Scalar>& gate : gates) gate.initialize(factor, rng);
    if (pooling) pooling->initialize(factor, rng);
  }

  void prepare_for_inference(kernels::Precision precision) {
    for (EncoderBlock<Scalar>& block : blocks) block.prepare_for_inference(precision);
  }

  /// Inference.
  EncoderOutput<Scalar> forward(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options) const {
    return run(input, options, input.rng, nullptr);
  }

  /// Training: dropout, noise of gates and boundaries, cache. `excess_limit` in the cache is set beforehand.
  EncoderOutput<Scalar> forward(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options, Rng& rng,
                                Cache& cache) const {
    return run(input, options, &rng, &cache);
  }

  /// grad_hidden [T' x D] and grad_key_bias [T'] or empty: gradients of what was handed on; grad_gates: one a gate
  /// report, or none; excess_weight: gradient of the loss with respect to each penalised block's mean excess (see
  /// `excess_means`); grad_boundaries: of the pooling's hard boundaries, or empty. Returns the gradient of the embedded
  /// input [T x D].
  Matrix<Scalar> backward(const Matrix<Scalar>& grad_hidden, std::span<const Scalar> grad_key_bias,
                          std::span<const GateGradient<Scalar>> grad_gates, double excess_weight, const Cache& cache,
                          Gradients& gradients, std::span<const Scalar> grad_boundaries = {}) const;

  /// The mean over all heads and pairs of max(score - limit, 0), for each block from the first gate on.
  Vector<double> excess_means(const Cache& cache) const {
    Vector<double> means;
    for (Index b = first_gated_block(); b < blocks.size(); ++b) means.push_back(mean_excess(cache.blocks[b].attention));
    return means;
  }

  static double mean_excess(const typename nn::MultiHeadAttention<Scalar>::Cache& attention) {
    return attention.pairs > 0 ? attention.excess / attention.pairs : 0.0;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    position.visit(visitor, prefix);
    for (Index b = 0; b < blocks.size(); ++b) {
      const ParameterName name = prefix + "block." + std::to_string(b) + ".";
      blocks[b].visit(visitor, name);
      for (merge::Gate<Scalar>& gate : gates)
        if (gate.config().block == b) gate.visit(visitor, name);
      if (pools_at(b)) pooling->visit(visitor, name);
    }
    final_norm.visit(visitor, prefix + "final_layer_norm.");
  }

  const Config& config() const { return config_; }

  PositionEncoding<Scalar> position;
  Vector<EncoderBlock<Scalar>> blocks;
  Vector<merge::Gate<Scalar>> gates;
  std::optional<merge::TokenPooling<Scalar>> pooling;
  nn::RmsNorm<Scalar> final_norm;

 private:
  bool pools_at(Index block) const { return pooling && pooling->config().block == block; }

  /// Training with a cache, inference with a null pointer, whose code knows nothing of training and compiles sooner.
  template <class CachePointer>
  EncoderOutput<Scalar> run(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options, Rng* rng,
                            CachePointer cache) const;

  /// No gate: the number of blocks.
  Index first_gated_block() const { return gates.empty() ? blocks.size() : gates.front().config().block; }

  Config config_;
  nn::Dropout<Scalar> dropout_;
};

template <Real Scalar>
Encoder<Scalar>::Encoder(const Config& config, nn::Weights weights)
    : position(config.stack, nn::Direction::both),
      blocks(Vector<EncoderBlock<Scalar>>::made_of(config.stack.blocks, config.stack, weights)),
      final_norm({config.stack.width, config.stack.norm_epsilon}),
      config_(config),
      dropout_({config.stack.dropout}) {
  Index last = -1;
  for (const merge::GateConfig& gate : config.gates) {
    check_argument(gate.block > last && gate.block < config.stack.blocks, "Encoder", "gates: block", gate.block,
                   "rising block numbers below " + std::to_string(config.stack.blocks));
    last = gate.block;
    gates.emplace_back(gate, config.stack.width);
  }
  if (!config.pooling) return;
  check_argument(config.gates.empty(), "Encoder", "pooling", "gates and a pooling", "one of them");
  check_argument(config.pooling->block >= 0 && config.pooling->block < config.stack.blocks, "Encoder", "pooling: block",
                 config.pooling->block, "a block number below " + std::to_string(config.stack.blocks));
  pooling.emplace(*config.pooling, config.stack.width, config.stack.feed_forward_width);
}

template <Real Scalar>
template <class CachePointer>
// NOLINTNEXTLINE(readability-function-size): one function until what it deletes by is a policy of its own
EncoderOutput<Scalar> Encoder<Scalar>::run(const EncoderInput<Scalar>& input, const merge::DeletionOptions& options,
                                           Rng* rng, CachePointer cache) const {
  constexpr bool training = !std::same_as<CachePointer, std::nullptr_t>;
  const auto cached = [&]([[maybe_unused]] auto member) {
    if constexpr (training)
      return &(cache->*member);
    else
      return nullptr;
  };
  options.check();
  const RaggedBatch<Scalar>& embedded = input.embedded;
  check_input("Encoder::forward", input, config_.stack.width);
  State state = State::start(embedded.offsets, embedded.positions);
  state.hidden.assign(input.hidden.list().begin(), input.hidden.list().end());
  state.forced.assign(input.forced.list().begin(), input.forced.list().end());
  if (options.pads == merge::Pads::left_out) add_marks(state.forced, state.hidden);
  const bool gated = options.mode == merge::DeletionMode::soft || options.mode == merge::DeletionMode::hard;

  Matrix<Scalar> x = embedded.values;
  position.add(x, embedded.positions, cached(&Cache::positions));
  nn::DistanceBias<Scalar> bias = position.bias(embedded.positions);
  std::optional<double> excess_limit;
  if constexpr (training) {
    excess_limit = cache->excess_limit;
    cache->gated = gated;
    cache->position_bias = bias;
    cache->states.assign(1, state);
    cache->steps.clear();
    cache->gates.assign(gated ? gates.size() : 0, {});
    cache->blocks.resize(blocks.size());
    dropout_.apply(x, *rng, cache->input_dropout);
  }

  EncoderOutput<Scalar> output;
  Vector<std::uint8_t> alive(embedded.total(), 1);
  Vector<std::uint8_t> unread;  // rows behind the pooling that no reader of the encoder sees
  Index next_gate = 0;
  for (Index b = 0; b < blocks.size(); ++b) {
    if (gated && next_gate < gates.size() && gates[next_gate].config().block == b) {
      GateReport<Scalar> report =
          ask_gate(gates[next_gate], next_gate, x, state, input, options, rng, cached(&Cache::gates));
      merge::DeletionStep<Scalar> step(state, report.gate.values, report.threshold, options);
      report.kept = step.kept_rows();
      Vector<Index> survivors;
      for (const Index row : report.kept) survivors.push_back(state.origin[row]);
      keep_only(survivors, alive);
      x = step.forward(std::move(x));
      state = step.after();
      if (b == 0 && options.mode == merge::DeletionMode::hard &&
          options.positions == merge::PositionsAfterDeletion::renumbered_at_block_0)
        state.positions = counting_positions(state.offsets);
      output.gates.push_back(std::move(report));
      ++next_gate;
      if constexpr (training) {
        cache->steps.push_back(std::move(step));
        cache->states.push_back(state);
      }
    }
    if (pools_at(b)) {
      const merge::PoolingInput how{options.pooled_pads, input.boundary_noise};
      auto pooled = [&] {
        if constexpr (training)
          return pooling->forward(x, state, how, *rng, cache->pooling);
        else
          return pooling->forward(x, state, how);
      }();
      x = std::move(pooled.values);
      state = std::move(pooled.state);
      unread = std::move(pooled.hidden);
      output.pooling = std::move(pooled.report);
      keep_only(state.origin, alive);
      if constexpr (training) cache->states.push_back(state);
    }
    const Context context = self_attention_context(state, bias, excess_limit);
    if constexpr (training)
      x = blocks[b].forward(x, context, *rng, cache->blocks[b]);
    else
      x = blocks[b].forward(x, context);
  }
  if constexpr (training) {
    x = final_norm.forward(x, cache->final_norm);
    dropout_.apply(x, *rng, cache->output_dropout);
  } else {
    x = final_norm.forward(x);
  }

  if (options.mode == merge::DeletionMode::everything) alive.assign(alive.size(), 0);
  output.deletion = merge::DeletionStatistics::count(embedded.offsets, alive, input.forced);
  if (options.mode == merge::DeletionMode::everything) {
    const Vector<Index> none(embedded.count(), 0);
    output.hidden = RaggedBatch<Scalar>(Matrix<Scalar>(0, x.cols()), SequenceOffsets::from_lengths(none));
    return output;
  }
  Vector<Position> positions;
  for (const Index row : state.origin) positions.push_back(embedded.positions[row]);
  output.hidden = RaggedBatch<Scalar>(std::move(x), state.offsets, std::move(positions));
  output.key_bias = std::move(state.key_bias);
  output.hidden_keys = std::move(pooling ? unread : state.hidden);
  output.deleted = std::move(state.deleted);
  output.kept = std::move(state.origin);
  return output;
}

template <Real Scalar>
Matrix<Scalar> Encoder<Scalar>::backward(const Matrix<Scalar>& grad_hidden, std::span<const Scalar> grad_key_bias,
                                         std::span<const GateGradient<Scalar>> grad_gates, double excess_weight,
                                         const Cache& cache, Gradients& gradients,
                                         std::span<const Scalar> grad_boundaries) const {
  Matrix<Scalar> grad = grad_hidden;
  dropout_.backward(grad, cache.output_dropout);
  grad = final_norm.backward(grad, cache.final_norm, gradients.final_norm);
  nn::DistanceBias<Scalar> grad_bias{
      Matrix<Scalar>::Zero(cache.position_bias.values.rows(), cache.position_bias.values.cols()),
      cache.position_bias.radius};
  Vector<Scalar> grad_state_bias(grad_key_bias.begin(), grad_key_bias.end());
  Index state = cache.states.size() - 1;
  for (Index b = blocks.size(); b-- > 0;) {
    const Context context = self_attention_context(cache.states[state], cache.position_bias, cache.excess_limit);
    const auto& attention = cache.blocks[b].attention;
    const bool penalised = b >= first_gated_block() && attention.pairs > 0;
    auto inner = blocks[b].backward(grad, context, cache.blocks[b], gradients.blocks[b],
                                    grad_bias.values.size() > 0 ? &grad_bias : nullptr,
                                    penalised ? excess_weight / attention.pairs : 0.0);
    grad = std::move(inner.x);
    add_gradient<Scalar>(inner.key_bias, grad_state_bias);
    if (pools_at(b)) {
      --state;
      grad = pooling->backward(std::move(grad), grad_boundaries, cache.pooling, gradients.pooling.value());
    }
    if (pooling || state == 0 || gates[state - 1].config().block != b) continue;
    --state;
    const merge::DeletionStep<Scalar>& step = cache.steps[state];
    Vector<Scalar> grad_values;
    grad_state_bias = step.backward_bias(grad_state_bias, grad_values);
    grad = step.backward(std::move(grad));
    std::span<const Scalar> grad_logits;
    if (state < std::ssize(grad_gates)) {
      const GateGradient<Scalar>& more = grad_gates[static_cast<std::size_t>(state)];
      grad_logits = more.logits;
      add_gradient<Scalar>(more.values, grad_values);
    }
    grad += gates[state].backward(grad_values, grad_logits, cache.gates[state], gradients.gates[state],
                                  step.input_tokens(), grad.cols());
  }
  dropout_.backward(grad, cache.input_dropout);
  position.backward(grad, grad_bias, cache.positions, gradients.position);
  return grad;
}

#if MERGANSER_COMPILED
extern template class Encoder<float>;
#endif

}  // namespace merganser::models
