// The position-wise feed-forward layer.
#pragma once

#include <cstddef>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/nn/dropout.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// What stands between the two linear maps.
enum class Activation {
  gated_gelu,  ///< gelu(x W0^T) * (x W1^T), tanh form (Shazeer 2020, arXiv 2002.05202)
  relu,        ///< max(0, x W^T)
};

/// y = activation(x) Wo^T.
///
/// Weights: wi_0, wi_1 [hidden x width] (gated) or wi [hidden x width] (ReLU), wo [width x hidden].
template <Real Scalar>
class FeedForward {
 public:
  using ScalarType = Scalar;
  using Gradients = FeedForward;

  struct Config {
    Index width = 0;
    Index hidden = 0;
    Activation activation = Activation::gated_gelu;
    double dropout = 0.0;  ///< on the hidden values, in [0, 1)
  };

  struct Cache {
    Matrix<Scalar> input;      ///< [T x width]
    Matrix<Scalar> inner;      ///< [T x hidden], before the activation
    Matrix<Scalar> gate;       ///< [T x hidden], the factor of the gated form
    Matrix<Scalar> activated;  ///< [T x hidden], the input of wo
    typename Dropout<Scalar>::Cache dropout;
  };

  FeedForward() = default;

  /// @throws std::invalid_argument if an extent is not positive or the dropout rate is outside [0, 1)
  explicit FeedForward(const Config& config, Weights weights = Weights::zeros)
      : activation_(config.activation), dropout_({config.dropout}) {
    check_argument(config.width > 0, "FeedForward", "width", config.width, "at least 1");
    check_argument(config.hidden > 0, "FeedForward", "hidden", config.hidden, "at least 1");
    wi = Linear<Scalar>({config.width, config.hidden}, weights);
    wo = Linear<Scalar>({config.hidden, config.width}, weights);
    if (activation_ == Activation::gated_gelu) wi_gate = Linear<Scalar>({config.width, config.hidden}, weights);
  }

  /// T5: normal with deviation width^-0.5 for the inner maps, hidden^-0.5 for the outer one.
  void initialize(double factor, Rng& rng) {
    const double inner = factor / std::sqrt(static_cast<double>(wi.in_features()));
    wi.initialize(inner, rng);
    if (activation_ == Activation::gated_gelu) wi_gate.initialize(inner, rng);
    wo.initialize(factor / std::sqrt(static_cast<double>(wo.in_features())), rng);
  }

  /// As Linear::prepare_for_inference. The gated form then makes both inner products at once and stores neither.
  void prepare_for_inference(kernels::Precision precision) {
    wo.prepare_for_inference(precision);
    if (activation_ == Activation::relu) return wi.prepare_for_inference(precision);
    if (packed_.depth() > 0 || wi.weight.is_absent()) return;
    pack_inner(wi.weight.matrix(), wi_gate.weight.matrix(), precision);
  }

  /// Prepares the inner maps of the gated form when they are absent: packs these, which are not kept.
  /// @throws std::invalid_argument if they are not absent or one has other extents
  void prepare_inner_with(const MatrixRef<Scalar>& inner, const MatrixRef<Scalar>& gate, kernels::Precision precision) {
    wi.weight.check_brought("FeedForward::prepare_inner_with", inner);
    wi_gate.weight.check_brought("FeedForward::prepare_inner_with", gate);
    pack_inner(inner, gate, precision);
  }

  /// x [T x width] to the same shape.
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x) const {
    if (packed_.depth() > 0) {
      Matrix<Scalar> activated(x.rows(), hidden_);
      kernels::multiply_gated_gelu<Scalar>(x, packed_, activated);
      return wo.forward(activated);
    }
    Cache cache;
    activate(x, cache);
    return wo.forward(cache.activated);
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, Rng& rng, Cache& cache) const {
    cache.input = x;
    activate(x, cache);
    dropout_.apply(cache.activated, rng, cache.dropout);
    return wo.forward(cache.activated);
  }

  Matrix<Scalar> backward(const MatrixRef<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    Matrix<Scalar> grad_hidden = wo.backward(grad_y, cache.activated, gradients.wo);
    dropout_.backward(grad_hidden, cache.dropout);
    check_same_shape("FeedForward::backward", "cache.inner", cache.inner, grad_hidden);
    if (activation_ == Activation::relu) {
      grad_hidden.array() *= (cache.inner.array() > Scalar{0}).template cast<Scalar>();
      return wi.backward(grad_hidden, cache.input, gradients.wi);
    }
    Matrix<Scalar> grad_inner(grad_hidden.rows(), grad_hidden.cols());
    Matrix<Scalar> grad_gate(grad_hidden.rows(), grad_hidden.cols());
    kernels::gated_gelu_backward(cache.inner, cache.gate, grad_hidden, grad_inner, grad_gate);
    Matrix<Scalar> grad_x = wi.backward(grad_inner, cache.input, gradients.wi);
    grad_x += wi_gate.backward(grad_gate, cache.input, gradients.wi_gate);
    return grad_x;
  }

  /// Memory that the weights take, in whatever form.
  std::size_t weight_bytes() const {
    return wi.weight.bytes() + wi_gate.weight.bytes() + wo.weight.bytes() + packed_.bytes();
  }

  /// A visitor of absent weights (see `Weight::visit`) gets the inner maps of the gated form together, because they are
  /// packed together: visitor.absent(*this, prefix).
  /// @throws std::invalid_argument if the layer was prepared for inference; as `Weight::visit`
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (packed_.depth() > 0)
      throw_invalid_argument("FeedForward::visit", (prefix + "wi_0.weight").text(), "a model prepared for inference",
                             "one that can be trained or saved");
    const bool gated = activation_ == Activation::gated_gelu;
    if constexpr (requires { visitor.absent(*this, prefix); })
      if (gated && wi.weight.is_absent()) {
        visitor.absent(*this, prefix);
        return wo.visit(visitor, prefix + "wo.");
      }
    wi.visit(visitor, prefix + (gated ? "wi_0." : "wi."));
    if (gated) wi_gate.visit(visitor, prefix + "wi_1.");
    wo.visit(visitor, prefix + "wo.");
  }

  Linear<Scalar> wi;
  Linear<Scalar> wi_gate;  ///< empty in the ReLU form
  Linear<Scalar> wo;

 private:
  void pack_inner(const MatrixRef<Scalar>& inner, const MatrixRef<Scalar>& gate, kernels::Precision precision) {
    hidden_ = inner.rows();
    packed_ = kernels::PackedMatrix<Scalar>::side_by_side(inner, gate, kernels::Orientation::transposed, precision);
    wi = wi_gate = Linear<Scalar>();
  }

  void activate(const MatrixRef<Scalar>& x, Cache& cache) const {
    cache.inner = wi.forward(x);
    if (activation_ == Activation::relu) {
      cache.activated = cache.inner.cwiseMax(Scalar{0});
      return;
    }
    cache.gate = wi_gate.forward(x);
    cache.activated.resize(cache.inner.rows(), cache.inner.cols());
    kernels::gated_gelu(cache.inner, cache.gate, cache.activated);
  }

  kernels::PackedMatrix<Scalar> packed_;  ///< prepared: wi and wi_gate side by side
  Index hidden_ = 0;                      ///< prepared: their rows
  Activation activation_ = Activation::gated_gelu;
  Dropout<Scalar> dropout_;
};

}  // namespace merganser::nn
