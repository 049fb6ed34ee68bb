// Softmax over rows of scores, with and without the extra one in the denominator.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// How a row of scores becomes weights.
enum class SoftmaxKind {
  softmax,   ///< y_i = exp(x_i) / sum_j exp(x_j)
  softmax1,  ///< y_i = exp(x_i) / (1 + sum_j exp(x_j)): a row may weigh nothing (Miller 2023, "Attention is off by
             ///< one")
};

/// Turns one row of scores x [C] into weights, in place; returns the log denominator, with which weights = exp(x - it).
///
/// An empty row has no weights and returns 0. A row of nothing but -infinity weighs nothing and returns -infinity.
template <Real Scalar>
Scalar softmax_row(Index count, Scalar* x, SoftmaxKind kind) {
  if (count == 0) return Scalar{0};
  const Scalar row_largest = Eigen::Map<const PlainRowVector<Scalar>>(x, count).maxCoeff();
  Scalar largest = std::max(row_largest, std::numeric_limits<Scalar>::lowest());  // finite, or not a number
  if (kind == SoftmaxKind::softmax1) largest = std::max(largest, Scalar{0});
  const auto shift = broadcast(largest);
  transform(
      count, x, [&](const auto& p) { return packet_exp<Scalar>(simd::psub(p, shift)); }, x);
  Scalar total = sum(count, x);
  if (kind == SoftmaxKind::softmax1) total += std::exp(-largest);
  const auto factor = broadcast(total == Scalar{0} ? Scalar{0} : Scalar{1} / total);
  transform(
      count, x, [&](const auto& p) { return simd::pmul(p, factor); }, x);
  return largest + std::log(total);
}

}  // namespace merganser::kernels
