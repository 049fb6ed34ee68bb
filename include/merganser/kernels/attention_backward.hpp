// The gradient of attention of one head over one sequence, in blocks of queries and keys.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/gradient_block.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/query_group.hpp>
#include <merganser/kernels/running_softmax.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

namespace detail {

/// A call of `attend_backward`: its arguments and the memory that it works in.
template <Real Scalar>
class BlockwiseGradients {
 public:
  BlockwiseGradients(const HeadMatrices<Scalar>& m, const HeadScores<Scalar>& scores, SoftmaxRows<const Scalar> softmax,
                     const HeadGradients<Scalar>& gradients)
      : m_(m),
        gradients_(gradients),
        softmax_(softmax),
        table_size_(DistanceTable<Scalar>::size(scores)),
        memory_({block * depth(), block * width(), block * padded(depth()), gradient_rows * padded(depth()),
                 gradient_rows * padded(width()), table_size_, table_size_, attention_chunk, part_size, part_size,
                 scores.soft_cap != 0 ? part_size : 0, gradients.excess_weight != 0 ? part_size : 0}),
        key_rows_(memory_.take(block * depth())),
        value_rows_(memory_.take(block * width())),
        key_columns_(memory_.take(block * padded(depth()))),
        query_columns_(memory_.take(gradient_rows * padded(depth()))),
        grad_columns_(memory_.take(gradient_rows * padded(width()))),
        rules_(scores, m.k.rows(), memory_.take(table_size_)),
        grad_table_(gradients.distance_bias != nullptr ? memory_.take(table_size_) : nullptr),
        inner_(memory_.take(attention_chunk)),
        part_(scores, gradients, memory_) {
    if (grad_table_ != nullptr) std::fill_n(grad_table_, table_size_, Scalar{0});
  }

  /// Adds what the chunk of `rows` queries from `query` on, whose results are in y, has of all gradients.
  [[gnu::always_inline]] void add(const MatrixRef<Scalar>& y, Index query, Index rows) {
    for (Index r = 0; r < rows; ++r) inner_[r] = dot(width(), y.row(query + r).data(), m_.grad_y.row(query + r).data());
    for (Index first = 0; first < m_.k.rows(); first += block) {
      const Index count = std::min(block, m_.k.rows() - first);
      rules_.enter(first, count);
      if (rules_.visible_keys(query, rows) == 0) continue;
      Keys keys = lay_out(first, count);
      for (Index row = 0; row < rows; row += gradient_rows) {
        const auto group = QueryGroup::of(rules_, count, query + row, std::min(gradient_rows, rows - row));
        if (group.columns == 0) continue;
        const bool by_pairs = group.hides && !is_finite(keys, group);
        find_gradients(keys, group, inner_ + row, by_pairs);
        if (by_pairs)
          part_.add_by_pairs(rules_, group, first, m_);
        else
          add_products(keys, group);
      }
    }
  }

  /// Adds the gradient of the distances, after all chunks.
  void finish() {
    if (grad_table_ != nullptr) rules_.distances().fold(grad_table_, gradients_.distance_bias);
  }

 private:
  static constexpr Index block = gradient_keys<Scalar>, stride = GradientBlock<Scalar>::stride;
  static constexpr Index part_size = GradientBlock<Scalar>::numbers;

  /// Keys and values from row `first` on, as they are and whether they are finite.
  struct Keys {
    Index first, count;
    MatrixRef<Scalar> k, v;
    FiniteBlock<Scalar> finite_k = {}, finite_v = {};
  };

  Index depth() const { return m_.q.cols(); }
  Index width() const { return m_.v.cols(); }
  static Index padded(Index columns) { return whole_panels<Scalar>(columns); }

  [[gnu::always_inline]] Keys lay_out(Index first, Index count) {
    Keys keys{first, count, m_.k.middleRows(first, count), m_.v.middleRows(first, count)};
    pack_rows<Scalar>(keys.k, key_rows_);
    pack_rows<Scalar>(keys.v, value_rows_);
    pack_columns<Scalar>(keys.k, key_columns_);
    return keys;
  }

  bool is_finite(Keys& keys, const QueryGroup& group) const {
    return keys.finite_k.of(keys.k) && keys.finite_v.of(keys.v) &&
           FiniteBlock<Scalar>().of(m_.q.middleRows(group.first, group.rows)) &&
           FiniteBlock<Scalar>().of(m_.grad_y.middleRows(group.first, group.rows));
  }

  /// The weights of a group and a block of keys, and the gradient of q . k; adds those of key bias and distances.
  /// `inner` is y . grad_y of the group.
  [[gnu::always_inline]] void find_gradients(const Keys& keys, const QueryGroup& group, const Scalar* inner,
                                             bool by_pairs) {
    multiply_panels<Scalar>(group.rows, depth(), group.columns, group.rows_of<Scalar>(m_.q),
                            Panels<Scalar>::packed(key_rows_, depth()), part_.weights, stride, BlockStart::zero);
    part_.to_weights(rules_, gradients_, group, softmax_);
    multiply_panels<Scalar>(group.rows, width(), group.columns, group.rows_of<Scalar>(m_.grad_y),
                            Panels<Scalar>::packed(value_rows_, width()), part_.grad, stride, BlockStart::zero);
    part_.to_scores(group, inner);
    if (by_pairs) part_.clear_hidden(rules_, group);
    if (gradients_.key_bias != nullptr) part_.add_column_sums(group, gradients_.key_bias + keys.first);
    part_.to_products(rules_, group, grad_table_);
  }

  /// Adds the gradients of v by y = weights v, and of q and k by s = q k^T.
  [[gnu::always_inline]] void add_products(const Keys& keys, const QueryGroup& group) {
    MutableMatrixRef<Scalar>&q = m_.grad_q, &k = m_.grad_k, &v = m_.grad_v;
    pack_columns<Scalar>(m_.grad_y.middleRows(group.first, group.rows), grad_columns_);
    multiply_panels<Scalar>(group.keys, group.rows, width(), {part_.weights, 1, stride},
                            Panels<Scalar>::packed(grad_columns_, group.rows), v.data() + keys.first * v.outerStride(),
                            v.outerStride(), BlockStart::add);
    multiply_panels<Scalar>(group.rows, group.keys, depth(), {part_.grad, stride, 1},
                            Panels<Scalar>::packed(key_columns_, keys.count), q.data() + group.first * q.outerStride(),
                            q.outerStride(), BlockStart::add);
    pack_columns<Scalar>(m_.q.middleRows(group.first, group.rows), query_columns_);
    multiply_panels<Scalar>(group.keys, group.rows, depth(), {part_.grad, 1, stride},
                            Panels<Scalar>::packed(query_columns_, group.rows), k.data() + keys.first * k.outerStride(),
                            k.outerStride(), BlockStart::add);
  }

  const HeadMatrices<Scalar>& m_;
  const HeadGradients<Scalar>& gradients_;
  const SoftmaxRows<const Scalar> softmax_;
  const Index table_size_;
  CallMemory<Scalar> memory_;
  Scalar *const key_rows_, *const value_rows_, *const key_columns_, *const query_columns_, *const grad_columns_;
  AttentionRules<Scalar> rules_;
  Scalar *const grad_table_, *const inner_;
  GradientBlock<Scalar> part_;
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
  if (k.rows() == 0) return;
  const detail::HeadMatrices<Scalar> matrices{q, k, v, grad_y, grad_q, grad_k, grad_v};
  detail::BlockwiseGradients<Scalar> sums(matrices, scores, rows, gradients);
  for (Index query = 0; query < q.rows(); query += detail::attention_chunk)
    sums.add(y, query, std::min(detail::attention_chunk, q.rows() - query));
  sums.finish();
}

}  // namespace merganser::kernels
