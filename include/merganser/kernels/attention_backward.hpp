// The gradient of attention of one head over one sequence, in blocks of queries and keys.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

namespace detail {

/// Queries of one block of gradients; a multiple of both tile heights.
inline constexpr Index gradient_rows = 48;
/// Keys of one block of gradients; whole panels.
template <Real Scalar>
inline constexpr Index gradient_keys = key_block<Scalar> / 2;

/// The weights of a block of queries and keys and the gradient of its scores.
template <Real Scalar>
class GradientBlock {
 public:
  static constexpr Index stride = gradient_keys<Scalar> + PacketOf<Scalar>::size;
  static constexpr Index numbers = gradient_rows * stride;  ///< of each array

  GradientBlock(const HeadScores<Scalar>& scores, const HeadGradients<Scalar>& gradients, CallMemory<Scalar>& memory)
      : weights(memory.take(numbers)),
        grad(memory.take(numbers)),
        slopes_(scores.soft_cap != 0 ? memory.take(numbers) : nullptr),
        excess_(gradients.excess_weight != 0 ? memory.take(numbers) : nullptr) {}

  /// Turns q . k in `weights` [rows x width] into weights; keeps what `to_products` needs.
  void to_weights(AttentionRules<Scalar>& rules, const HeadGradients<Scalar>& gradients, Index query, Index rows,
                  Index width, bool hides, SoftmaxRows<const Scalar> softmax) {
    const Packet limit = broadcast(gradients.excess_limit), excess = broadcast(gradients.excess_weight);
    for (Index r = 0; r < rows; ++r) {
      Scalar* const row = weights + r * stride;
      if (hides || slopes_ != nullptr || excess_ != nullptr) {
        rules.score(query + r, row, width, slopes_ != nullptr ? slopes_ + r * stride : nullptr);
        if (excess_ != nullptr)
          transform(
              width, excess_ + r * stride, [&](const auto& s) { return simd::pand(simd::pcmp_lt(limit, s), excess); },
              static_cast<const Scalar*>(row));
        rules.weigh(row, width);
      } else {
        rules.score_and_weigh(query + r, row, width);
      }
      const Packet shift = broadcast(softmax.largest[query + r]), factor = broadcast(softmax.factor[query + r]);
      transform(
          width, row,
          [&](const Packet& s) { return simd::pmul(packet_exp<Scalar>(Packet(simd::psub(s, shift))), factor); },
          static_cast<const Scalar*>(row));
    }
  }

  /// Turns the gradient of weights in `grad` into that of scores with key bias: w (g - sum_j w_j g_j), where the sum is
  /// `inner` of the query, y . grad_y.
  void to_scores(Index rows, Index width, const Scalar* inner) {
    for (Index r = 0; r < rows; ++r) {
      Scalar* const row = grad + r * stride;
      const Packet shift = broadcast(inner[r]);
      transform(
          width, row, [&](const auto& w, const auto& g) { return simd::pmul(w, simd::psub(g, shift)); },
          static_cast<const Scalar*>(weights + r * stride), static_cast<const Scalar*>(row));
    }
  }

  /// Sets the gradient of scores that are hidden and weigh nothing to 0, also where a value is not finite.
  void clear_hidden(AttentionRules<Scalar>& rules, Index query, Index rows, Index width) {
    for (Index r = 0; r < rows; ++r) {
      Scalar* const row = grad + r * stride;
      std::copy_n(row, width, spare_);
      std::fill_n(row, width, Scalar{0});
      rules.for_each_part(query + r, weights + r * stride, width, [&](Index key) { row[key] = spare_[key]; });
    }
  }

  /// Adds the sums of the columns of `grad` to `sum` [keys].
  void add_column_sums(Index rows, Index keys, Scalar* sum) const {
    constexpr Index size = PacketOf<Scalar>::size;
    for (Index k = 0; k < keys; k += size) {
      Packet total = broadcast(Scalar{0});
      for (Index r = 0; r < rows; ++r) total = simd::padd(total, simd::ploadu<Packet>(grad + r * stride + k));
      Scalar lanes[static_cast<std::size_t>(size)];
      simd::pstoreu(lanes, total);
      for (Index i = 0; i < std::min(size, keys - k); ++i) sum[k + i] += lanes[i];
    }
  }

  /// Turns the gradient of scores with key bias into that of q . k; that of the distances is added to `table`, unless
  /// null.
  void to_products(const AttentionRules<Scalar>& rules, Index query, Index rows, Index width, bool hides,
                   Scalar* table) {
    for (Index r = 0; r < rows; ++r) {
      Scalar* const row = grad + r * stride;
      if (excess_ != nullptr)
        combine(row, excess_ + r * stride, width, [](auto a, auto b) { return simd::padd(a, b); });
      if (hides) rules.hide(query + r, row, width, Scalar{0});  // a hidden score is a constant
      if (table != nullptr) rules.add_distance_gradient(query + r, row, width, table);
      if (slopes_ != nullptr)
        combine(row, slopes_ + r * stride, width, [](auto a, auto b) { return simd::pmul(a, b); });
    }
  }

  /// Adds the gradients of q, k and v pair by pair, without the pairs that are hidden: in place of products, for which
  /// 0 times what is not finite is not 0. The block's first key is row `first`.
  void add_by_pairs(AttentionRules<Scalar>& rules, Index query, Index rows, Index first, Index keys,
                    const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& grad_y,
                    MutableMatrixRef<Scalar>& grad_q, MutableMatrixRef<Scalar>& grad_k,
                    MutableMatrixRef<Scalar>& grad_v) const {
    for (Index r = query; r < query + rows; ++r) {
      const Scalar *const weight = weights + (r - query) * stride, *const slope = grad + (r - query) * stride;
      rules.for_each_part(r, weight, keys, [&](Index key) {
        add_scaled(grad_y.cols(), weight[key], grad_y.row(r).data(), grad_v.row(first + key).data());
      });
      rules.for_each_visible(r, keys, [&](Index key) {
        add_scaled(k.cols(), slope[key], k.row(first + key).data(), grad_q.row(r).data());
        add_scaled(q.cols(), slope[key], q.row(r).data(), grad_k.row(first + key).data());
      });
    }
  }

  Scalar* const weights;
  Scalar* const grad;

 private:
  using Packet = typename PacketOf<Scalar>::Type;

  template <class Op>
  static void combine(Scalar* row, const Scalar* other, Index width, Op&& op) {
    transform(width, row, op, static_cast<const Scalar*>(row), other);
  }

  Scalar spare_[static_cast<std::size_t>(gradient_keys<Scalar>)];
  Scalar* const slopes_;  // d bound / d (q . k), or none
  Scalar* const excess_;  // gradient of the excess, or none
};

}  // namespace detail

/// Gradients of `attend`: grad_q, grad_k, grad_v are added to.
///
/// y is the result of `attend` and `rows` what it left. The weights are computed again block by block: memory is
/// constant in t_q and t_k, and blocks that are hidden from all queries at hand are left out.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void attend_backward(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
                     const HeadScores<Scalar>& scores, const MatrixRef<Scalar>& y, SoftmaxRows<const Scalar> rows,
                     const MatrixRef<Scalar>& grad_y, MutableMatrixRef<Scalar> grad_q, MutableMatrixRef<Scalar> grad_k,
                     MutableMatrixRef<Scalar> grad_v, const HeadGradients<Scalar>& gradients) {
  using namespace detail;
  constexpr const char* here = "kernels::attend_backward";
  check_equal(here, "k.cols()", k.cols(), q.cols());
  check_equal(here, "v.rows()", v.rows(), k.rows());
  check_equal(here, "y.rows()", y.rows(), q.rows());
  check_equal(here, "y.cols()", y.cols(), v.cols());
  check_same_shape(here, "grad_y", grad_y, y);
  check_same_shape(here, "grad_q", grad_q, q);
  check_same_shape(here, "grad_k", grad_k, k);
  check_same_shape(here, "grad_v", grad_v, v);
  scores.check(here, q.rows(), k.rows());
  constexpr Index block = gradient_keys<Scalar>, stride = GradientBlock<Scalar>::stride;
  const Index keys = k.rows(), depth = q.cols(), width = v.cols();
  if (keys == 0) return;
  const Index padded_depth = whole_panels<Scalar>(depth), padded_width = whole_panels<Scalar>(width);
  const Index table_size = DistanceTable<Scalar>::size(scores);
  const Index part_size = GradientBlock<Scalar>::numbers;
  CallMemory<Scalar> memory({block * depth, block * width, block * padded_depth, gradient_rows * padded_depth,
                             gradient_rows * padded_width, table_size, table_size, attention_chunk, part_size,
                             part_size, scores.soft_cap != 0 ? part_size : 0,
                             gradients.excess_weight != 0 ? part_size : 0});
  Scalar* const key_rows = memory.take(block * depth);
  Scalar* const value_rows = memory.take(block * width);
  Scalar* const key_columns = memory.take(block * padded_depth);
  Scalar* const query_columns = memory.take(gradient_rows * padded_depth);
  Scalar* const grad_columns = memory.take(gradient_rows * padded_width);
  AttentionRules<Scalar> rules(scores, keys, memory.take(table_size));
  Scalar* const grad_table = gradients.distance_bias != nullptr ? memory.take(table_size) : nullptr;
  if (grad_table != nullptr) std::fill_n(grad_table, table_size, Scalar{0});
  Scalar* const inner = memory.take(attention_chunk);
  GradientBlock<Scalar> part(scores, gradients, memory);

  for (Index chunk = 0; chunk < q.rows(); chunk += attention_chunk) {
    const Index chunk_rows = std::min(attention_chunk, q.rows() - chunk);
    for (Index r = 0; r < chunk_rows; ++r) inner[r] = dot(width, y.row(chunk + r).data(), grad_y.row(chunk + r).data());
    for (Index first = 0; first < keys; first += block) {
      const Index count = std::min(block, keys - first);
      rules.enter(first, count);
      if (rules.visible_keys(chunk, chunk_rows) == 0) continue;
      pack_rows<Scalar>(k.middleRows(first, count), key_rows);
      pack_rows<Scalar>(v.middleRows(first, count), value_rows);
      pack_columns<Scalar>(k.middleRows(first, count), key_columns);
      FiniteBlock<Scalar> finite_keys, finite_values;
      for (Index row = 0; row < chunk_rows; row += gradient_rows) {
        const Index query = chunk + row, group = std::min(gradient_rows, chunk_rows - row);
        const Index visible = rules.visible_keys(query, group);
        if (visible == 0) continue;
        const Index columns = whole_panels<Scalar>(visible), used = std::min(columns, count);
        const bool hides = rules.hides(query, group, used);
        const auto rows_of = [&](const auto& m) {
          return Strided<Scalar>{m.data() + query * m.outerStride(), m.outerStride(), 1};
        };

        const bool by_pairs =
            hides && !(finite_keys.of(k.middleRows(first, count)) && finite_values.of(v.middleRows(first, count)) &&
                       FiniteBlock<Scalar>().of(q.middleRows(query, group)) &&
                       FiniteBlock<Scalar>().of(grad_y.middleRows(query, group)));
        multiply_panels<Scalar>(group, depth, columns, rows_of(q), Panels<Scalar>::packed(key_rows, depth),
                                part.weights, stride, BlockStart::zero);
        part.to_weights(rules, gradients, query, group, columns, hides, rows);

        multiply_panels<Scalar>(group, width, columns, rows_of(grad_y), Panels<Scalar>::packed(value_rows, width),
                                part.grad, stride, BlockStart::zero);
        part.to_scores(group, columns, inner + row);
        if (by_pairs) part.clear_hidden(rules, query, group, used);
        if (gradients.key_bias != nullptr) part.add_column_sums(group, used, gradients.key_bias + first);
        part.to_products(rules, query, group, columns, hides, grad_table);

        if (by_pairs) {
          part.add_by_pairs(rules, query, group, first, used, q, k, grad_y, grad_q, grad_k, grad_v);
          continue;
        }
        pack_columns<Scalar>(grad_y.middleRows(query, group), grad_columns);
        multiply_panels<Scalar>(used, group, width, {part.weights, 1, stride},
                                Panels<Scalar>::packed(grad_columns, group),
                                grad_v.data() + first * grad_v.outerStride(), grad_v.outerStride(),
                                BlockStart::add);  // y = weights v
        multiply_panels<Scalar>(group, used, depth, {part.grad, stride, 1}, Panels<Scalar>::packed(key_columns, count),
                                grad_q.data() + query * grad_q.outerStride(), grad_q.outerStride(),
                                BlockStart::add);  // s = q k^T
        pack_columns<Scalar>(q.middleRows(query, group), query_columns);
        multiply_panels<Scalar>(used, group, depth, {part.grad, 1, stride},
                                Panels<Scalar>::packed(query_columns, group),
                                grad_k.data() + first * grad_k.outerStride(), grad_k.outerStride(), BlockStart::add);
      }
    }
  }
  if (grad_table != nullptr) rules.distances().fold(grad_table, gradients.distance_bias);
}

}  // namespace merganser::kernels
