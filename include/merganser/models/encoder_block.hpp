// One block of the encoder: self-attention and feed-forward, each behind a norm and around a shortcut.
#pragma once

#include <string>
#include <utility>

#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/stack_config.hpp>
#include <merganser/nn/dropout.hpp>
#include <merganser/nn/feed_forward.hpp>
#include <merganser/nn/multi_head_attention.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// Attention config of a stack for a scalar type.
template <Real Scalar>
typename nn::MultiHeadAttention<Scalar>::Config attention_config(const StackConfig& stack) {
  return {stack.width, stack.heads, stack.head_width, stack.softmax, stack.score_bound};
}

template <Real Scalar>
typename nn::FeedForward<Scalar>::Config feed_forward_config(const StackConfig& stack) {
  return {stack.width, stack.feed_forward_width, stack.activation, stack.dropout};
}

/// x + attention(norm(x)), then x + feed_forward(norm(x)). Pre-norm, as in T5 (Raffel et al. 2020, section 2.1).
template <Real Scalar>
class EncoderBlock {
 public:
  using ScalarType = Scalar;
  using Gradients = EncoderBlock;
  using Config = StackConfig;
  using Context = nn::AttentionContext<Scalar>;

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache attention_norm, feed_forward_norm;
    typename nn::MultiHeadAttention<Scalar>::Cache attention;
    typename nn::FeedForward<Scalar>::Cache feed_forward;
    typename nn::Dropout<Scalar>::Cache attention_dropout, feed_forward_dropout;
  };

  struct InputGradients {
    Matrix<Scalar> x;         ///< [T x D]
    Vector<Scalar> key_bias;  ///< [T]; empty when there was no key bias
  };

  EncoderBlock() = default;

  explicit EncoderBlock(const Config& config, nn::Weights weights = nn::Weights::zeros)
      : attention_norm({config.width, config.norm_epsilon}),
        attention(attention_config<Scalar>(config), weights),
        feed_forward_norm({config.width, config.norm_epsilon}),
        feed_forward(feed_forward_config<Scalar>(config), weights),
        dropout_({config.dropout}) {}

  void initialize(double factor, Rng& rng) {
    attention.initialize(factor, rng);
    feed_forward.initialize(factor, rng);
  }

  void prepare_for_inference(kernels::Precision precision) {
    attention.prepare_for_inference(precision);
    feed_forward.prepare_for_inference(precision);
  }

  /// x [T x D] to the same shape.
  Matrix<Scalar> forward(const Matrix<Scalar>& x, const Context& context) const { return feed(attend(x, context)); }

  Matrix<Scalar> forward(const Matrix<Scalar>& x, const Context& context, Rng& rng, Cache& cache) const {
    return feed(attend(x, context, rng, cache), rng, cache);
  }

  /// The first half: x + attention(norm(x)).
  Matrix<Scalar> attend(const Matrix<Scalar>& x, const Context& context) const {
    const Matrix<Scalar> normed = attention_norm.forward(x);
    return x + attention.forward(normed, normed, context);
  }

  /// The same, leaving in `record` what nn::RecordedAttention reads.
  Matrix<Scalar> attend(const Matrix<Scalar>& x, const Context& context,
                        typename nn::MultiHeadAttention<Scalar>::Cache& record) const {
    return x + attention.record(attention_norm.forward(x), context, record);
  }

  Matrix<Scalar> attend(const Matrix<Scalar>& x, const Context& context, Rng& rng, Cache& cache) const {
    const Matrix<Scalar> normed = attention_norm.forward(x, cache.attention_norm);
    Matrix<Scalar> y = attention.forward(normed, normed, context, cache.attention);
    dropout_.apply(y, rng, cache.attention_dropout);
    y += x;
    return y;
  }

  /// The second half: x + feed_forward(norm(x)).
  Matrix<Scalar> feed(Matrix<Scalar> x) const {
    x += feed_forward.forward(feed_forward_norm.forward(x));
    return x;
  }

  Matrix<Scalar> feed(const Matrix<Scalar>& x, Rng& rng, Cache& cache) const {
    Matrix<Scalar> y =
        feed_forward.forward(feed_forward_norm.forward(x, cache.feed_forward_norm), rng, cache.feed_forward);
    dropout_.apply(y, rng, cache.feed_forward_dropout);
    return y + x;
  }

  /// grad_y [T x D]; `excess_weight` as in MultiHeadAttention::backward.
  InputGradients backward(const Matrix<Scalar>& grad_y, const Context& context, const Cache& cache,
                          Gradients& gradients, nn::DistanceBias<Scalar>* grad_position_bias,
                          double excess_weight) const {
    return attend_backward(feed_backward(grad_y, cache, gradients), context, cache, gradients, grad_position_bias,
                           excess_weight);
  }

  Matrix<Scalar> feed_backward(const Matrix<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    Matrix<Scalar> grad = grad_y;
    dropout_.backward(grad, cache.feed_forward_dropout);
    Matrix<Scalar> grad_x =
        feed_forward_norm.backward(feed_forward.backward(grad, cache.feed_forward, gradients.feed_forward),
                                   cache.feed_forward_norm, gradients.feed_forward_norm);
    grad_x += grad_y;
    return grad_x;
  }

  InputGradients attend_backward(Matrix<Scalar> grad_y, const Context& context, const Cache& cache,
                                 Gradients& gradients, nn::DistanceBias<Scalar>* grad_position_bias,
                                 double excess_weight) const {
    Matrix<Scalar> grad = grad_y;
    dropout_.backward(grad, cache.attention_dropout);
    auto inner =
        attention.backward(grad, context, cache.attention, gradients.attention, grad_position_bias, excess_weight);
    inner.query_input += inner.memory;
    grad_y += attention_norm.backward(inner.query_input, cache.attention_norm, gradients.attention_norm);
    return {std::move(grad_y), std::move(inner.key_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    attention.visit(visitor, prefix + "layer.0.SelfAttention.");
    attention_norm.visit(visitor, prefix + "layer.0.layer_norm.");
    feed_forward.visit(visitor, prefix + "layer.1.DenseReluDense.");
    feed_forward_norm.visit(visitor, prefix + "layer.1.layer_norm.");
  }

  nn::RmsNorm<Scalar> attention_norm;
  nn::MultiHeadAttention<Scalar> attention;
  nn::RmsNorm<Scalar> feed_forward_norm;
  nn::FeedForward<Scalar> feed_forward;

 private:
  nn::Dropout<Scalar> dropout_;
};

}  // namespace merganser::models
