// One block of the decoder: causal self-attention, cross-attention, feed-forward.
#pragma once

#include <string>
#include <utility>

#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/encoder_block.hpp>
#include <merganser/models/stack_config.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// x + self(norm(x)), x + cross(norm(x), memory), x + feed_forward(norm(x)).
///
/// Cross-attention has no position bias; the gate values of the encoder come in as its key bias.
template <Real Scalar>
class DecoderBlock {
 public:
  using ScalarType = Scalar;
  using Gradients = DecoderBlock;
  using Config = StackConfig;
  using Context = nn::AttentionContext<Scalar>;
  using Attention = nn::MultiHeadAttention<Scalar>;

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache self_norm, cross_norm, feed_forward_norm;
    typename Attention::Cache self_attention, cross_attention;
    typename nn::FeedForward<Scalar>::Cache feed_forward;
    typename nn::Dropout<Scalar>::Cache self_dropout, cross_dropout, feed_forward_dropout;
  };

  struct InputGradients {
    Matrix<Scalar> x;         ///< [L x D]
    Matrix<Scalar> memory;    ///< [T' x D]
    Vector<Scalar> key_bias;  ///< [T']; empty when there was none
  };

  DecoderBlock() = default;

  explicit DecoderBlock(const Config& config, nn::Weights weights = nn::Weights::zeros)
      : self_norm({config.width, config.norm_epsilon}),
        self_attention(attention_config<Scalar>(config), weights),
        cross_norm({config.width, config.norm_epsilon}),
        cross_attention(attention_config<Scalar>(config), weights),
        feed_forward_norm({config.width, config.norm_epsilon}),
        feed_forward(feed_forward_config<Scalar>(config), weights),
        dropout_({config.dropout}) {}

  void initialize(double factor, Rng& rng) {
    self_attention.initialize(factor, rng);
    cross_attention.initialize(factor, rng);
    feed_forward.initialize(factor, rng);
  }

  void prepare_for_inference(kernels::Precision precision) {
    self_attention.prepare_for_inference(precision);
    cross_attention.prepare_for_inference(precision);
    feed_forward.prepare_for_inference(precision);
  }

  /// x [L x D], memory [T' x D]; result [L x D].
  Matrix<Scalar> forward(const Matrix<Scalar>& x, const Context& self, const Matrix<Scalar>& memory,
                         const Context& cross) const {
    const Matrix<Scalar> normed = self_norm.forward(x);
    return finish(x + self_attention.forward(normed, normed, self), cross_attention.project(memory), cross);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& x, const Context& self, const Matrix<Scalar>& memory,
                         const Context& cross, Rng& rng, Cache& cache) const {
    const Matrix<Scalar> normed = self_norm.forward(x, cache.self_norm);
    Matrix<Scalar> first = self_attention.forward(normed, normed, self, cache.self_attention);
    dropout_.apply(first, rng, cache.self_dropout);
    first += x;
    Matrix<Scalar> second =
        cross_attention.forward(cross_norm.forward(first, cache.cross_norm), memory, cross, cache.cross_attention);
    dropout_.apply(second, rng, cache.cross_dropout);
    second += first;
    Matrix<Scalar> y =
        feed_forward.forward(feed_forward_norm.forward(second, cache.feed_forward_norm), rng, cache.feed_forward);
    dropout_.apply(y, rng, cache.feed_forward_dropout);
    return y + second;
  }

  /// One new token for each of N sequences: x [N x D]. `self_key_values` already holds the earlier tokens' keys and
  /// values in the rows of `self.keys`; those of the new tokens are written to `new_rows` [N] first.
  Matrix<Scalar> step(const Matrix<Scalar>& x, const Context& self, nn::KeyValues<Scalar>& self_key_values,
                      const Vector<Index>& new_rows, const nn::KeyValues<Scalar>& cross_key_values,
                      const Context& cross) const {
    const Matrix<Scalar> normed = self_norm.forward(x);
    const nn::KeyValues<Scalar> fresh = self_attention.project(normed);
    for (Index n = 0; n < new_rows.size(); ++n) {
      self_key_values.keys.row(new_rows[n]) = fresh.keys.row(n);
      self_key_values.values.row(new_rows[n]) = fresh.values.row(n);
    }
    return finish(x + self_attention.attend(normed, self_key_values, self), cross_key_values, cross);
  }

  /// grad_y [L x D]; `excess_weight` is for the cross-attention, as in MultiHeadAttention::backward.
  InputGradients backward(const Matrix<Scalar>& grad_y, const Context& self, const Context& cross, const Cache& cache,
                          Gradients& gradients, nn::DistanceBias<Scalar>* grad_position_bias,
                          double excess_weight) const {
    Matrix<Scalar> grad = grad_y;
    dropout_.backward(grad, cache.feed_forward_dropout);
    Matrix<Scalar> grad_x =
        feed_forward_norm.backward(feed_forward.backward(grad, cache.feed_forward, gradients.feed_forward),
                                   cache.feed_forward_norm, gradients.feed_forward_norm);
    grad_x += grad_y;
    grad = grad_x;
    dropout_.backward(grad, cache.cross_dropout);
    auto crossed =
        cross_attention.backward(grad, cross, cache.cross_attention, gradients.cross_attention, nullptr, excess_weight);
    grad_x += cross_norm.backward(crossed.query_input, cache.cross_norm, gradients.cross_norm);
    grad = grad_x;
    dropout_.backward(grad, cache.self_dropout);
    auto own = self_attention.backward(grad, self, cache.self_attention, gradients.self_attention, grad_position_bias);
    own.query_input += own.memory;
    grad_x += self_norm.backward(own.query_input, cache.self_norm, gradients.self_norm);
    return {std::move(grad_x), std::move(crossed.memory), std::move(crossed.key_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    self_attention.visit(visitor, prefix + "layer.0.SelfAttention.");
    self_norm.visit(visitor, prefix + "layer.0.layer_norm.");
    cross_attention.visit(visitor, prefix + "layer.1.EncDecAttention.");
    cross_norm.visit(visitor, prefix + "layer.1.layer_norm.");
    feed_forward.visit(visitor, prefix + "layer.2.DenseReluDense.");
    feed_forward_norm.visit(visitor, prefix + "layer.2.layer_norm.");
  }

  nn::RmsNorm<Scalar> self_norm;
  Attention self_attention;
  nn::RmsNorm<Scalar> cross_norm;
  Attention cross_attention;
  nn::RmsNorm<Scalar> feed_forward_norm;
  nn::FeedForward<Scalar> feed_forward;

 private:
  /// What follows the self-attention, from its sum with the shortcut.
  Matrix<Scalar> finish(Matrix<Scalar> x, const nn::KeyValues<Scalar>& cross_key_values, const Context& cross) const {
    x += cross_attention.attend(cross_norm.forward(x), cross_key_values, cross);
    x += feed_forward.forward(feed_forward_norm.forward(x));
    return x;
  }

  nn::Dropout<Scalar> dropout_;
};

}  // namespace merganser::models
