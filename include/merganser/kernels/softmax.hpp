// Softmax over rows of scores, with and without the extra one in the denominator.
#pragma once

#include <algorithm>
#include <cmath>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::kernels {

/// How a row of scores becomes weights.
enum class SoftmaxKind {
  softmax,   ///< y_i = exp(x_i) / sum_j exp(x_j)
  softmax1,  ///< y_i = exp(x_i) / (1 + sum_j exp(x_j)): a row may weigh nothing (Miller 2023, "Attention is off by
             ///< one")
};

/// Turns one row of scores x [C] into weights, in place; returns the log denominator, with which weights = exp(x - it).
///
/// An empty row has no weights and returns 0.
template <Real Scalar>
Scalar softmax_row(Index count, Scalar* x, SoftmaxKind kind) {
  namespace simd = Eigen::internal;
  if (count == 0) return Scalar{0};
  Scalar largest = Eigen::Map<const RowVector<Scalar>>(x, count).maxCoeff();
  if (kind == SoftmaxKind::softmax1) largest = std::max(largest, Scalar{0});
  const auto shift = broadcast(largest);
  transform(
      count, x, [&](const auto& p) { return packet_exp<Scalar>(simd::psub(p, shift)); }, x);
  Scalar total = sum(count, x);
  if (kind == SoftmaxKind::softmax1) total += std::exp(-largest);
  const auto factor = broadcast(Scalar{1} / total);
  transform(
      count, x, [&](const auto& p) { return simd::pmul(p, factor); }, x);
  return largest + std::log(total);
}

/// The weights of one row from its scores and its log denominator, in place.
///
/// exp(x - log_denominator), scaled so that the row (with the extra one) sums to 1: far from 0 the log denominator is
/// too coarse for that. In a row of nothing but -1e9 it is -1e9 in float, and its log(C) is lost.
template <Real Scalar>
void apply_softmax_row(Index count, Scalar* x, Scalar log_denominator, SoftmaxKind kind) {
  namespace simd = Eigen::internal;
  if (count == 0) return;
  const auto shift = broadcast(log_denominator);
  transform(
      count, x, [&](const auto& p) { return packet_exp<Scalar>(simd::psub(p, shift)); }, x);
  Scalar total = sum(count, x);
  if (kind == SoftmaxKind::softmax1) total += std::exp(-log_denominator);
  const auto factor = broadcast(Scalar{1} / total);
  transform(
      count, x, [&](const auto& p) { return simd::pmul(p, factor); }, x);
}

/// Gradient with respect to the scores of one row, in place of the gradient with respect to its weights.
///
/// grad_x = y (grad_y - sum_j y_j grad_y_j); the same for both kinds, because the extra one has no score.
template <Real Scalar>
void softmax_backward_row(Index count, const Scalar* weights, Scalar* grad) {
  namespace simd = Eigen::internal;
  const auto inner = broadcast(dot(count, weights, grad));
  transform(
      count, grad, [&](const auto& y, const auto& g) { return simd::pmul(y, simd::psub(g, inner)); }, weights, grad);
}

}  // namespace merganser::kernels
