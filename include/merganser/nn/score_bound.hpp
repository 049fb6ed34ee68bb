// Bounds on attention scores, so that a deleted key cannot be read all the same.
#pragma once

#include <cmath>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// What keeps the content part of a score, q . k, within reach of the gate.
enum class ScoreBoundKind {
  none,        ///< as in T5 and in published checkpoints
  soft_cap,    ///< value * tanh(q . k / value)
  normalised,  ///< value * cos(q, k): queries and keys are normalised, cost linear in tokens
};

/// A bound: |content score| <= value, in nats.
struct ScoreBound {
  ScoreBoundKind kind = ScoreBoundKind::none;
  double value = 0.0;

  static ScoreBound none() { return {}; }
  static ScoreBound soft_cap(double cap) { return {ScoreBoundKind::soft_cap, cap}; }
  static ScoreBound normalised(double scale) { return {ScoreBoundKind::normalised, scale}; }

  /// @throws std::invalid_argument if a bound that needs a value has none, or one with whose inverse float cannot do
  void check(const char* function) const {
    if (kind == ScoreBoundKind::none) return;
    check_argument(value > 0, function, "score_bound.value", value, "a positive number");
    check_argument(value >= 1e-30 && value <= 1e30, function, "score_bound.value", value, "from 1e-30 to 1e30");
  }

  bool operator==(const ScoreBound&) const = default;
};

/// Scales every head's slice of every row to the length `length`, in place; returns the factors [T x H].
///
/// y = length x / sqrt(|x|^2 + 1e-12).
/// @throws std::invalid_argument if the heads do not share the columns
template <Real Scalar>
Matrix<Scalar> normalise_heads(Matrix<Scalar>& x, Index heads, double length) {
  check_argument(heads > 0 && x.cols() % heads == 0, "normalise_heads", "heads", heads,
                 "a divisor of the number of columns");
  const Index width = x.cols() / heads;
  Matrix<Scalar> factors(x.rows(), heads);
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index h = 0; h < heads; ++h) {
      auto slice = x.row(t).segment(h * width, width);
      const Scalar squared = kernels::dot(width, slice.data(), slice.data());
      factors(t, h) = static_cast<Scalar>(length) / std::sqrt(squared + static_cast<Scalar>(1e-12));
      slice *= factors(t, h);
    }
  }
  return factors;
}

/// Gradient of `normalise_heads` in place of the gradient of its result y:
/// grad_x = factor (grad_y - y (y . grad_y) / length^2).
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void normalise_heads_backward(const Matrix<Scalar>& y, const Matrix<Scalar>& factors, double length,
                              Matrix<Scalar>& grad) {
  check_equal("normalise_heads_backward", "factors.rows()", factors.rows(), y.rows());
  check_argument(factors.cols() > 0 && y.cols() % factors.cols() == 0, "normalise_heads_backward", "factors.cols()",
                 factors.cols(), "a divisor of the number of columns");
  check_same_shape("normalise_heads_backward", "grad", grad, y);
  const Index width = y.cols() / factors.cols();
  const auto minus_inverse_square = static_cast<Scalar>(-1 / (length * length));
  for (Index t = 0; t < y.rows(); ++t) {
    for (Index h = 0; h < factors.cols(); ++h) {
      const Scalar* const slice = y.row(t).data() + h * width;
      Scalar* const grad_slice = grad.row(t).data() + h * width;
      const Scalar inner = kernels::dot<Scalar>(width, slice, grad_slice) * minus_inverse_square;
      kernels::add_scaled(width, inner, slice, grad_slice);
      grad.row(t).segment(h * width, width) *= factors(t, h);
    }
  }
}

}  // namespace merganser::nn
