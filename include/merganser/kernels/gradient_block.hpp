// From the weights of a block of queries and keys to the gradient of its scores.
#pragma once

#include <algorithm>
#include <cstddef>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/query_group.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Queries of one block of gradients; a multiple of both tile heights.
inline constexpr Index gradient_rows = 48;
/// Keys of one block of gradients; whole panels.
template <Real Scalar>
inline constexpr Index gradient_keys = key_block<Scalar> / 2;

/// The matrices of one head, and where their gradients are added.
template <Real Scalar>
struct HeadMatrices {
  const MatrixRef<Scalar>&q, &k, &v, &grad_y;
  MutableMatrixRef<Scalar>&grad_q, &grad_k, &grad_v;
};

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

  /// Turns q . k in `weights` [rows x columns] of a group into weights; keeps what `to_products` needs.
  void to_weights(AttentionRules<Scalar>& rules, const HeadGradients<Scalar>& gradients, const QueryGroup& group,
                  SoftmaxRows<const Scalar> softmax) {
    const Index query = group.first, width = group.columns;
    const Packet limit = broadcast(gradients.excess_limit), excess = broadcast(gradients.excess_weight);
    for (Index r = 0; r < group.rows; ++r) {
      Scalar* const row = weights + r * stride;
      if (group.hides || slopes_ != nullptr || excess_ != nullptr) {
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
  void to_scores(const QueryGroup& group, const Scalar* inner) {
    for (Index r = 0; r < group.rows; ++r) {
      Scalar* const row = grad + r * stride;
      const Packet shift = broadcast(inner[r]);
      transform(
          group.columns, row, [&](const auto& w, const auto& g) { return simd::pmul(w, simd::psub(g, shift)); },
          static_cast<const Scalar*>(weights + r * stride), static_cast<const Scalar*>(row));
    }
  }

  /// Sets the gradient of scores that are hidden and weigh nothing to 0, also where a value is not finite.
  void clear_hidden(AttentionRules<Scalar>& rules, const QueryGroup& group) {
    for (Index r = 0; r < group.rows; ++r) {
      Scalar* const row = grad + r * stride;
      std::copy_n(row, group.keys, spare_);
      std::fill_n(row, group.keys, Scalar{0});
      rules.for_each_part(group.first + r, weights + r * stride, group.keys,
                          [&](Index key) { row[key] = spare_[key]; });
    }
  }

  /// Adds the sums of the columns of `grad` to `sum` [keys].
  void add_column_sums(const QueryGroup& group, Scalar* sum) const {
    constexpr Index size = PacketOf<Scalar>::size;
    for (Index k = 0; k < group.keys; k += size) {
      Packet total = broadcast(Scalar{0});
      for (Index r = 0; r < group.rows; ++r) total = simd::padd(total, simd::ploadu<Packet>(grad + r * stride + k));
      Scalar lanes[static_cast<std::size_t>(size)];
      simd::pstoreu(lanes, total);
      for (Index i = 0; i < std::min(size, group.keys - k); ++i) sum[k + i] += lanes[i];
    }
  }

  /// Turns the gradient of scores with key bias into that of q . k; that of the distances is added to `table`, unless
  /// null.
  void to_products(const AttentionRules<Scalar>& rules, const QueryGroup& group, Scalar* table) {
    const Index width = group.columns;
    for (Index r = 0; r < group.rows; ++r) {
      Scalar* const row = grad + r * stride;
      if (excess_ != nullptr)
        combine(row, excess_ + r * stride, width, [](auto a, auto b) { return simd::padd(a, b); });
      if (group.hides) rules.hide(group.first + r, row, width, Scalar{0});  // a hidden score is a constant
      if (table != nullptr) rules.add_distance_gradient(group.first + r, row, width, table);
      if (slopes_ != nullptr)
        combine(row, slopes_ + r * stride, width, [](auto a, auto b) { return simd::pmul(a, b); });
    }
  }

  /// Adds the gradients of q, k and v pair by pair, without the pairs that are hidden: in place of products, for which
  /// 0 times what is not finite is not 0. The block's first key is row `first`.
  void add_by_pairs(AttentionRules<Scalar>& rules, const QueryGroup& group, Index first,
                    const HeadMatrices<Scalar>& m) const {
    for (Index r = 0; r < group.rows; ++r) {
      const Index query = group.first + r;
      const Scalar *const weight = weights + r * stride, *const slope = grad + r * stride;
      rules.for_each_part(query, weight, group.keys, [&](Index key) {
        add_scaled(m.grad_y.cols(), weight[key], m.grad_y.row(query).data(), m.grad_v.row(first + key).data());
      });
      rules.for_each_visible(query, group.keys, [&](Index key) {
        add_scaled(m.k.cols(), slope[key], m.k.row(first + key).data(), m.grad_q.row(query).data());
        add_scaled(m.q.cols(), slope[key], m.q.row(query).data(), m.grad_k.row(first + key).data());
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

}  // namespace merganser::kernels::detail
