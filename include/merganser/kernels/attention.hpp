// Unscaled dot-product attention of one head over one sequence, in blocks of queries and keys.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/query_group.hpp>
#include <merganser/kernels/running_softmax.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

namespace detail {

/// A call of `attend`: its arguments, the memory that it works in, and the sums of the chunk of queries at hand.
///
/// Its parts are inlined into one function, as those of `BlockwiseGradients` are: calls for every few queries cost a
/// percent of the time, and more of short attention.
template <Real Scalar>
class BlockwiseAttention {
 public:
  /// `packed_keys` and `excess_limit` as those of `attend`.
  BlockwiseAttention(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
                     const HeadScores<Scalar>& scores, MutableMatrixRef<Scalar>& y, const Scalar* packed_keys,
                     const Scalar* excess_limit)
      : q_(q),
        k_(k),
        v_(v),
        y_(y),
        packed_keys_(packed_keys),
        excess_limit_(excess_limit),
        softmax_(scores.softmax),
        in_place_(q.rows() < block_rows && v.cols() % attention_panel<Scalar> == 0),
        memory_({key_numbers(), value_numbers(), DistanceTable<Scalar>::size(scores), attention_rows * stride,
                 attention_chunk, attention_chunk}),
        key_panels_(memory_.take(key_numbers())),
        value_panels_(memory_.take(value_numbers())),
        rules_(scores, k.rows(), memory_.take(DistanceTable<Scalar>::size(scores))),
        weights_(memory_.take(attention_rows * stride)),
        running_{memory_.take(attention_chunk), memory_.take(attention_chunk)} {}

  /// Attends for the chunk of `rows` queries from `query` on: their rows of y, and of `softmax` unless null.
  [[gnu::always_inline]] void attend(Index query, Index rows, const SoftmaxRows<Scalar>& softmax) {
    running_.start(rows, softmax_);
    for (Index first = 0; first < k_.rows(); first += key_block<Scalar>) {
      const Index count = std::min(key_block<Scalar>, k_.rows() - first);
      rules_.enter(first, count);
      if (rules_.visible_keys(query, rows) == 0) continue;
      Block block = lay_out(first, count);
      for (Index row = 0; row < rows; row += attention_rows) {
        const auto group = QueryGroup::of(rules_, count, query + row, std::min(attention_rows, rows - row));
        if (group.columns == 0) continue;
        score(block, group);
        running_.add(row, group.rows, weights_, group.columns, largest_, factors_);
        add_values(block, group);
      }
    }
    finish(query, rows, softmax);
  }

  /// Of all chunks so far, as `attend` returns it.
  double excess() const { return excess_; }

 private:
  static constexpr Index stride = score_stride<Scalar>;

  /// Keys and values from row `first` on, as the products read them.
  struct Block {
    Index first, count;
    const Scalar* keys;
    Panels<Scalar> values;
    FiniteBlock<Scalar> finite_values = {};
  };

  Index key_numbers() const { return key_block<Scalar> * q_.cols(); }
  Index value_numbers() const { return key_block<Scalar> * whole_panels<Scalar>(v_.cols()); }

  /// For few queries values are read where they lie: packing would cost more than the product.
  [[gnu::always_inline]] Block lay_out(Index first, Index count) {
    if (packed_keys_ == nullptr) pack_rows<Scalar>(k_.middleRows(first, count), key_panels_);
    if (!in_place_) pack_columns<Scalar>(v_.middleRows(first, count), value_panels_);
    return {first, count, packed_keys_ == nullptr ? key_panels_ : packed_keys_ + first * q_.cols(),
            in_place_ ? Panels<Scalar>::in_place(v_.middleRows(first, count))
                      : Panels<Scalar>::packed(value_panels_, count)};
  }

  /// The scores of a group with a block, with key bias, to `weights_`, and the largest of each query.
  [[gnu::always_inline]] void score(const Block& block, const QueryGroup& group) {
    multiply_panels<Scalar>(group.rows, q_.cols(), group.columns, group.rows_of<Scalar>(q_),
                            Panels<Scalar>::packed(block.keys, q_.cols()), weights_, stride, BlockStart::zero);
    for (Index r = 0; r < group.rows; ++r) {
      Scalar* const row = weights_ + r * stride;
      if (group.hides || excess_limit_ != nullptr) {
        rules_.score(group.first + r, row, group.columns, nullptr);
        if (excess_limit_ != nullptr) add_excess(row, group.keys);
        largest_[r] = rules_.weigh(row, group.columns);
      } else {
        largest_[r] = rules_.score_and_weigh(group.first + r, row, group.columns);
      }
    }
  }

  [[gnu::always_inline]] void add_excess(const Scalar* row, Index keys) {
    for (Index key = 0; key < keys; ++key) excess_ += std::max(static_cast<double>(row[key] - *excess_limit_), 0.0);
  }

  /// y = factor y + weights v for a group: pair by pair where a value that is not finite may be hidden, of which 0
  /// times is not 0.
  [[gnu::always_inline]] void add_values(Block& block, const QueryGroup& group) {
    const Index width = v_.cols();
    if (!group.hides || block.finite_values.of(v_.middleRows(block.first, block.count)))
      return multiply_panels<Scalar>(group.rows, group.keys, width, {weights_, stride, 1}, block.values,
                                     y_.data() + group.first * y_.outerStride(), y_.outerStride(), BlockStart::scale,
                                     factors_);
    for (Index r = 0; r < group.rows; ++r) {
      const Scalar* const row = weights_ + r * stride;
      auto sum = y_.row(group.first + r);
      sum *= factors_[r];
      rules_.for_each_part(group.first + r, row, group.keys, [&](Index key) {
        add_scaled(width, row[key], v_.row(block.first + key).data(), sum.data());
      });
    }
  }

  /// From sums to means.
  [[gnu::always_inline]] void finish(Index query, Index rows, const SoftmaxRows<Scalar>& softmax) {
    for (Index r = 0; r < rows; ++r) {
      const Scalar factor = running_.total[r] == 0 ? Scalar{0} : 1 / running_.total[r];
      y_.row(query + r) *= factor;
      if (softmax.largest != nullptr) softmax.largest[query + r] = running_.largest[r];
      if (softmax.factor != nullptr) softmax.factor[query + r] = factor;
    }
  }

  const MatrixRef<Scalar>&q_, &k_, &v_;
  MutableMatrixRef<Scalar>& y_;
  const Scalar *const packed_keys_, *const excess_limit_;
  const SoftmaxKind softmax_;
  const bool in_place_;
  CallMemory<Scalar> memory_;
  Scalar *const key_panels_, *const value_panels_;
  AttentionRules<Scalar> rules_;
  Scalar* const weights_;  // [attention_rows x stride], first scores
  RunningSoftmax<Scalar> running_;
  Scalar largest_[attention_rows], factors_[attention_rows];
  double excess_ = 0;
};

}  // namespace detail

/// Numbers that `pack_keys` writes for keys [t_k x K].
template <Real Scalar>
Index packed_keys_size(Index keys, Index width) {
  return detail::whole_panels<Scalar>(keys) * width;
}

/// Lays out keys [t_k x K] for `attend`, which else does it at every call.
template <Real Scalar>
void pack_keys(const MatrixRef<Scalar>& k, Scalar* out) {
  detail::pack_rows<Scalar>(k, out);
}

/// y [t_q x K] = weights(q, k) v for one head of one sequence.
///
/// q [t_q x K], k and v [t_k x K]; `packed_keys` may hold what `pack_keys` made of k. `rows` receive what backward
/// needs, unless null. Keys are taken in blocks of a fixed size with a running maximum and sum; a block that is hidden
/// from all queries at hand is left out. So memory beside the output is constant in t_q and t_k, and causal attention
/// takes half the time. The bits of a row of y depend on its query and the keys that it sees alone, whatever hidden
/// ones hold, also NaN. With no keys, or if the bias of all is -infinity, y is 0.
///
/// Milakov and Gimelshein 2018, arXiv 1805.02867 (running softmax); Dao et al. 2022, arXiv 2205.14135 (in blocks).
/// @return the sum over all pairs of max(score - excess_limit, 0); hidden pairs count 0. Not computed (0) unless
///         `excess_limit` is given.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
double attend(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
              const HeadScores<Scalar>& scores, MutableMatrixRef<Scalar> y, SoftmaxRows<Scalar> rows = {},
              const Scalar* excess_limit = nullptr, const Scalar* packed_keys = nullptr) {
  check_equal("kernels::attend", "k.cols()", k.cols(), q.cols());
  check_equal("kernels::attend", "v.rows()", v.rows(), k.rows());
  check_equal("kernels::attend", "y.rows()", y.rows(), q.rows());
  check_equal("kernels::attend", "y.cols()", y.cols(), v.cols());
  scores.check("kernels::attend", q.rows(), k.rows());
  y.setZero();
  detail::BlockwiseAttention<Scalar> attention(q, k, v, scores, y, packed_keys, excess_limit);
  for (Index query = 0; query < q.rows(); query += detail::attention_chunk)
    attention.attend(query, std::min(detail::attention_chunk, q.rows() - query), rows);
  return attention.excess();
}

}  // namespace merganser::kernels
