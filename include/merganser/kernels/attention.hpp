// Unscaled dot-product attention of one head over one sequence, forward and backward, in blocks of queries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/softmax.hpp>

namespace merganser::kernels {

/// Which keys a query may see.
enum class Visibility {
  all,
  causal,  ///< keys whose position is not after the query's
};

/// The score of a key that may not be seen: finite, so that a row of such keys stays a row of numbers.
inline constexpr double hidden_score = -1e9;

/// What one head adds to the products q . k of one sequence of t_q queries and t_k keys.
///
/// score = bound(q . k) + position bias, or `hidden_score`; weights = softmax(score + key bias).
template <Real Scalar>
struct HeadScores {
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  Scalar soft_cap = 0;                    ///< c in bound(s) = c tanh(s / c); 0: no bound
  const Scalar* distance_bias = nullptr;  ///< [2 radius + 1] by key position - query position, or none
  Index radius = 0;
  std::span<const Position> query_positions;  ///< [t_q]; may be empty without position bias and causality
  std::span<const Position> key_positions;    ///< [t_k], likewise
  std::span<const Scalar> key_bias;           ///< [t_k] or empty: 0 leaves a key alone, negative weakens it
  std::span<const std::uint8_t> hidden_keys;  ///< [t_k] or empty: not 0 hides a key from every query
};

/// What backward needs to know and where it adds besides the blocks.
template <Real Scalar>
struct HeadGradients {
  Scalar* distance_bias = nullptr;  ///< [2 radius + 1], added to, or none
  Scalar* key_bias = nullptr;       ///< [t_k], added to, or none
  Scalar excess_weight = 0;         ///< gradient of the loss with respect to the sum of max(score - limit, 0)
  Scalar excess_limit = 0;
};

namespace detail {

/// Queries in one block: the scores of a block are the only t_k-wide memory.
inline constexpr Index query_block = 64;

/// Calls run(first key, count, index of the first distance, stride) for stretches of keys whose distances to a query
/// are consecutive (stride 1) or all the same (stride 0).
template <class Run>
void for_distance_runs(std::span<const Position> keys, bool consecutive, Position query, Index radius, Run&& run) {
  const Index count = static_cast<Index>(keys.size());
  if (!consecutive) {
    for (Index k = 0; k < count; ++k) {
      const Index distance = keys[static_cast<std::size_t>(k)] - query;
      run(k, Index{1}, std::clamp(distance, -radius, radius) + radius, Index{1});
    }
    return;
  }
  if (count == 0) return;
  const Index first_distance = keys.front() - query;
  const Index left = std::clamp<Index>(-radius - first_distance, 0, count);
  const Index right = std::clamp<Index>(radius + 1 - first_distance, left, count);
  if (left > 0) run(Index{0}, left, Index{0}, Index{0});
  if (right > left) run(left, right - left, first_distance + left + radius, Index{1});
  if (count > right) run(right, count - right, 2 * radius, Index{0});
}

inline bool are_consecutive(std::span<const Position> positions) {
  return std::adjacent_find(positions.begin(), positions.end(), [](Position a, Position b) { return b - a != 1; }) ==
         positions.end();
}

/// One head's view of a sequence while its queries are walked in blocks.
template <Real Scalar>
class HeadWalk {
 public:
  HeadWalk(const HeadScores<Scalar>& scores, const MatrixRef<Scalar>& keys)
      : scores_(scores),
        packed_keys_(keys, Orientation::transposed),
        consecutive_(are_consecutive(scores.key_positions)) {}

  /// bound(q . k) for a block of queries [rows x K] into `out` [rows x t_k].
  void content(const MatrixRef<Scalar>& queries, Matrix<Scalar>& out) const {
    namespace simd = Eigen::internal;
    out.resize(queries.rows(), packed_keys_.cols());
    multiply<Scalar>(queries, packed_keys_, out);
    if (scores_.soft_cap == 0) return;
    const auto cap = broadcast(scores_.soft_cap);
    const auto inverse = broadcast(1 / scores_.soft_cap);
    transform(
        out.size(), out.data(),
        [&](const auto& s) { return simd::pmul(cap, packet_tanh<Scalar>(simd::pmul(s, inverse))); }, out.data());
  }

  /// Adds the position bias and hides keys: content [rows x t_k] of the queries from `first` on becomes scores.
  void add_position_and_mask(Index first, Matrix<Scalar>& content) const {
    const Index count = content.cols();
    for (Index r = 0; r < content.rows(); ++r) {
      Scalar* row = content.row(r).data();
      if (scores_.distance_bias != nullptr) {
        for_distance_runs(scores_.key_positions, consecutive_, query_position(first + r), scores_.radius,
                          [&](Index k, Index length, Index bias, Index stride) {
                            const Scalar* values = scores_.distance_bias + bias;
                            for (Index i = 0; i < length; ++i) row[k + i] += values[i * stride];
                          });
      }
      if (!hides()) continue;
      for (Index k = 0; k < count; ++k)
        if (is_hidden(first + r, k)) row[k] = static_cast<Scalar>(hidden_score);
    }
  }

  void add_key_bias(Matrix<Scalar>& block) const {
    if (scores_.key_bias.empty()) return;
    const Eigen::Map<const RowVector<Scalar>> bias(scores_.key_bias.data(), block.cols());
    block.rowwise() += bias;
  }

  /// Adds a gradient of scores [rows x t_k] to the gradient by distance.
  void add_distance_gradient(Index first, const Matrix<Scalar>& grad, Scalar* sum) const {
    for (Index r = 0; r < grad.rows(); ++r) {
      const Scalar* row = grad.row(r).data();
      for_distance_runs(scores_.key_positions, consecutive_, query_position(first + r), scores_.radius,
                        [&](Index k, Index length, Index bias, Index stride) {
                          if (stride == 0)
                            sum[bias] += kernels::sum(length, row + k);
                          else
                            for (Index i = 0; i < length; ++i) sum[bias + i] += row[k + i];
                        });
    }
  }

  /// Whether any key may be hidden from any query.
  bool hides() const { return !scores_.hidden_keys.empty() || scores_.visibility == Visibility::causal; }

  bool is_hidden(Index query, Index key) const {
    const auto k = static_cast<std::size_t>(key);
    return (!scores_.hidden_keys.empty() && scores_.hidden_keys[k] != 0) ||
           (scores_.visibility == Visibility::causal && scores_.key_positions[k] > query_position(query));
  }

 private:
  Position query_position(Index query) const { return scores_.query_positions[static_cast<std::size_t>(query)]; }

  const HeadScores<Scalar>& scores_;
  PackedMatrix<Scalar> packed_keys_;
  bool consecutive_;
};

}  // namespace detail

/// y [t_q x K] = weights(q, k) v for one head of one sequence.
///
/// q [t_q x K], k and v [t_k x K]. log_denominator [t_q] receives what backward needs to repeat the weights, unless
/// null. Memory beside the output: one block of scores, linear in t_k. With no keys, y is 0.
/// @return the sum over all pairs of max(score - excess_limit, 0); hidden pairs count 0. Not computed (0) unless
///         `excess_limit` is given.
template <Real Scalar>
Scalar attend(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
              const HeadScores<Scalar>& scores, MutableMatrixRef<Scalar> y, Scalar* log_denominator,
              const Scalar* excess_limit = nullptr) {
  const detail::HeadWalk<Scalar> walk(scores, k);
  const PackedMatrix<Scalar> packed_values(v, Orientation::as_is);
  Matrix<Scalar> block;
  Scalar excess = 0;
  for (Index first = 0; first < q.rows(); first += detail::query_block) {
    const Index rows = std::min(detail::query_block, q.rows() - first);
    walk.content(q.middleRows(first, rows), block);
    walk.add_position_and_mask(first, block);
    if (excess_limit != nullptr) excess += (block.array() - *excess_limit).max(Scalar{0}).sum();
    walk.add_key_bias(block);
    for (Index r = 0; r < rows; ++r) {
      const Scalar log_sum = softmax_row(block.cols(), block.row(r).data(), scores.softmax);
      if (log_denominator != nullptr) log_denominator[first + r] = log_sum;
    }
    multiply<Scalar>(block, packed_values, y.middleRows(first, rows));
  }
  return excess;
}

/// Gradients of `attend`: grad_q, grad_k, grad_v are added to.
///
/// The weights are computed again from the log denominators, so that training keeps no t_q x t_k matrix.
template <Real Scalar>
void attend_backward(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
                     const HeadScores<Scalar>& scores, const Scalar* log_denominator, const MatrixRef<Scalar>& grad_y,
                     MutableMatrixRef<Scalar> grad_q, MutableMatrixRef<Scalar> grad_k, MutableMatrixRef<Scalar> grad_v,
                     const HeadGradients<Scalar>& gradients) {
  const detail::HeadWalk<Scalar> walk(scores, k);
  const PackedMatrix<Scalar> packed_values(v, Orientation::transposed);
  const PackedMatrix<Scalar> packed_keys(k, Orientation::as_is);
  PackedMatrix<Scalar> packed;
  Matrix<Scalar> content, weights, grad;
  const auto cap = scores.soft_cap;
  for (Index first = 0; first < q.rows(); first += detail::query_block) {
    const Index rows = std::min(detail::query_block, q.rows() - first);
    const auto q_block = q.middleRows(first, rows);
    const auto grad_block = grad_y.middleRows(first, rows);
    walk.content(q_block, content);
    weights = content;
    walk.add_position_and_mask(first, weights);
    Matrix<Scalar> excess_mask;
    if (gradients.excess_weight != 0)
      excess_mask = gradients.excess_weight * (weights.array() > gradients.excess_limit).template cast<Scalar>();
    walk.add_key_bias(weights);
    for (Index r = 0; r < rows; ++r)
      apply_softmax_row(weights.cols(), weights.row(r).data(), log_denominator[first + r], scores.softmax);

    packed.assign(grad_block, Orientation::as_is);
    multiply_transposed<Scalar>(weights, packed, grad_v, Store::add);  // y = weights v
    grad.resize(rows, weights.cols());
    multiply<Scalar>(grad_block, packed_values, grad);
    for (Index r = 0; r < rows; ++r) softmax_backward_row(grad.cols(), weights.row(r).data(), grad.row(r).data());
    if (gradients.key_bias != nullptr)
      for (Index r = 0; r < rows; ++r)
        for (Index c = 0; c < grad.cols(); ++c) gradients.key_bias[c] += grad(r, c);
    if (excess_mask.size() > 0) grad += excess_mask;
    if (walk.hides())
      for (Index r = 0; r < rows; ++r)
        for (Index c = 0; c < grad.cols(); ++c)
          if (walk.is_hidden(first + r, c)) grad(r, c) = Scalar{0};  // a hidden score is a constant
    if (gradients.distance_bias != nullptr) walk.add_distance_gradient(first, grad, gradients.distance_bias);
    if (cap != 0) grad.array() *= Scalar{1} - (content.array() / cap).square();  // s = c tanh(q.k / c)

    multiply<Scalar>(grad, packed_keys, grad_q.middleRows(first, rows), Store::add);  // s = q k^T
    packed.assign(q_block, Orientation::as_is);
    multiply_transposed<Scalar>(grad, packed, grad_k, Store::add);
  }
}

}  // namespace merganser::kernels
