// Carrying out merge plans: rows together, rows back, and the gradients of both.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The plans of a batch side by side: the rows they read and the rows they make.
///
/// `plans` has one plan a sequence. Cost of every function: one pass over the rows.
template <Real Scalar>
class Compaction {
 public:
  Compaction() = default;

  /// @throws std::invalid_argument if a plan does not fit its sequence
  Compaction(Vector<MergePlan<Scalar>> plans, const SequenceOffsets& input) : plans_(std::move(plans)), input_(input) {
    check_equal("Compaction", "plans.size()", plans_.size(), input.count());
    for (Index i = 0; i < input.count(); ++i) {
      check_equal("Compaction", "plan.input_count()", plan(i).input_count(), input.length(i));
      output_.push_back(plan(i).output_count());
    }
  }

  const SequenceOffsets& input_offsets() const { return input_; }
  const SequenceOffsets& output_offsets() const { return output_; }
  const MergePlan<Scalar>& plan(Index sequence) const { return plans_[sequence]; }

  /// x [T_in x D] to its merged rows [T_out x D].
  Matrix<Scalar> compact(const MatrixRef<Scalar>& x) const {
    check_equal("Compaction::compact", "x.rows()", x.rows(), input_.total());
    Matrix<Scalar> y(output_.total(), x.cols());
    for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      if (is_copy(members)) {
        y.row(out) = x.row(first + members[0].token);
        return;
      }
      y.row(out).setZero();
      for (const Member<Scalar>& member : members)
        kernels::add_scaled(x.cols(), member.weight, x.row(first + member.token).data(), y.row(out).data());
    });
    for_each_largest(x, [&](Index in, Index out, Index column) { y(out, column) = x(in, column); });
    for_each_restored([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      const Scalar own = length(y, out);
      if (own > 0) y.row(out) *= length(x, longest(x, first, members)) / own;
    });
    return y;
  }

  /// Whether the gradient of `compact` hangs on x.
  bool is_linear() const {
    return std::all_of(plans_.begin(), plans_.end(),
                       [](const auto& plan) { return plan.combine() == Combine::weighted_sum; });
  }

  /// Gradient of `compact`: grad_y [T_out x D] to [T_in x D]; dropped tokens get 0.
  /// @throws std::invalid_argument if it hangs on x
  Matrix<Scalar> compact_backward(const MatrixRef<Scalar>& grad_y) const {
    check_argument(is_linear(), "Compaction::compact_backward", "x", "none", "what went in, as rows are no sums");
    return weighted_backward(grad_y);
  }

  /// The same where x [T_in x D] went in.
  Matrix<Scalar> compact_backward(Matrix<Scalar> grad_y, const MatrixRef<Scalar>& x) const {
    if (is_linear()) return weighted_backward(grad_y);
    check_equal("Compaction::compact_backward", "x.rows()", x.rows(), input_.total());
    Matrix<Scalar> besides = Matrix<Scalar>::Zero(input_.total(), grad_y.cols());
    for_each_largest(x, [&](Index in, Index out, Index column) {
      besides(in, column) += grad_y(out, column);
      grad_y(out, column) = 0;
    });
    for_each_restored([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      restored_backward(x, first, out, members, grad_y, besides);
    });
    return besides + weighted_backward(grad_y);
  }

  /// Back to the full length: every token takes the value of its row, of several rows their mean by its weights there;
  /// dropped tokens are 0.
  Matrix<Scalar> expand(const MatrixRef<Scalar>& y) const {
    check_equal("Compaction::expand", "y.rows()", y.rows(), output_.total());
    Matrix<Scalar> x = Matrix<Scalar>::Zero(input_.total(), y.cols());
    for_each_share([&](Index in, Index out, Scalar share) {
      kernels::add_scaled(y.cols(), share, y.row(out).data(), x.row(in).data());
    });
    return x;
  }

  /// Gradient of `expand`: grad_x [T_in x D] to [T_out x D].
  Matrix<Scalar> expand_backward(const MatrixRef<Scalar>& grad_x) const {
    check_equal("Compaction::expand_backward", "grad_x.rows()", grad_x.rows(), input_.total());
    Matrix<Scalar> grad_y = Matrix<Scalar>::Zero(output_.total(), grad_x.cols());
    for_each_share([&](Index in, Index out, Scalar share) {
      kernels::add_scaled(grad_x.cols(), share, grad_x.row(in).data(), grad_y.row(out).data());
    });
    return grad_y;
  }

  /// One value a token: each output row takes its representative's.
  template <class Value>
  Vector<Value> pick(std::span<const Value> values) const {
    check_equal("Compaction::pick", "values.size()", std::ssize(values), input_.total());
    Vector<Value> picked;
    picked.reserve(output_.total());
    for (const Index row : representatives()) picked.push_back(values[static_cast<std::size_t>(row)]);
    return picked;
  }

  /// Gradient of `pick`: each representative receives the gradient of its output row, all others 0.
  Vector<Scalar> pick_backward(std::span<const Scalar> grad) const {
    check_equal("Compaction::pick_backward", "grad.size()", std::ssize(grad), output_.total());
    Vector<Scalar> result(input_.total(), Scalar{0});
    for (const Scalar* next = grad.data(); const Index row : representatives()) result[row] += *next++;
    return result;
  }

  /// The input row number, counted over the whole batch, of every output row. Shape [T_out].
  Vector<Index> representatives() const {
    Vector<Index> rows;
    rows.reserve(output_.total());
    for (Index i = 0; i < input_.count(); ++i)
      for (const Index row : plan(i).representatives()) rows.push_back(input_.begin(i) + row);
    return rows;
  }

  /// Whether no row is made of several tokens or of none, or has a size of its own.
  bool only_copies() const {
    bool copies = std::all_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan.sizes().empty(); });
    for_each_row(
        [&](Index, Index, std::span<const Member<Scalar>> members) { copies = copies && members.size() == 1; });
    return copies;
  }

  /// [T_in] the first row, counted over the whole batch, that each token is in, or -1: dropped.
  Vector<Index> groups() const {
    Vector<Index> groups(input_.total(), -1);
    for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      for (const Member<Scalar>& member : members)
        if (groups[first + member.token] < 0) groups[first + member.token] = out;
    });
    return groups;
  }

  /// Calls visit(first token of the sequence, row, its members) for every output row.
  template <class Visit>
  void for_each_row(Visit&& visit) const {
    for (Index i = 0; i < input_.count(); ++i)
      for (Index row = 0; row < plan(i).output_count(); ++row)
        visit(input_.begin(i), output_.begin(i) + row, plan(i).members(row));
  }

 private:
  Matrix<Scalar> weighted_backward(const MatrixRef<Scalar>& grad_y) const {
    check_equal("Compaction::compact_backward", "grad_y.rows()", grad_y.rows(), output_.total());
    Matrix<Scalar> grad_x = Matrix<Scalar>::Zero(input_.total(), grad_y.cols());
    for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      for (const Member<Scalar>& member : members)
        kernels::add_scaled(grad_y.cols(), member.weight, grad_y.row(out).data(),
                            grad_x.row(first + member.token).data());
    });
    return grad_x;
  }

  /// Calls visit(token, row, column) for the largest number, of equal ones the first, of every column of rows of
  /// several members that are combined so.
  template <class Visit>
  void for_each_largest(const MatrixRef<Scalar>& x, Visit&& visit) const {
    for (Index i = 0; i < input_.count(); ++i) {
      if (plan(i).combine() != Combine::largest) continue;
      for (Index row = 0; row < plan(i).output_count(); ++row) {
        const std::span<const Member<Scalar>> members = plan(i).members(row);
        for (Index column = 0; members.size() > 1 && column < x.cols(); ++column) {
          Index best = input_.begin(i) + members[0].token;
          for (const Member<Scalar>& member : members)
            if (x(input_.begin(i) + member.token, column) > x(best, column)) best = input_.begin(i) + member.token;
          visit(best, output_.begin(i) + row, column);
        }
      }
    }
  }

  static Scalar length(const MatrixRef<Scalar>& x, Index row) {
    return std::sqrt(kernels::dot(x.cols(), x.row(row).data(), x.row(row).data()));
  }

  static Index longest(const MatrixRef<Scalar>& x, Index first, std::span<const Member<Scalar>> members) {
    Index best = first + members[0].token;
    Scalar most = length(x, best);
    for (const Member<Scalar>& member : members.subspan(1))
      if (const Scalar own = length(x, first + member.token); own > most) {
        most = own;
        best = first + member.token;
      }
    return best;
  }

  /// Calls visit(first token of the sequence, row, its members) for every row of several whose length is restored.
  template <class Visit>
  void for_each_restored(Visit&& visit) const {
    for (Index i = 0; i < input_.count(); ++i) {
      if (plan(i).combine() != Combine::restored_norm) continue;
      for (Index row = 0; row < plan(i).output_count(); ++row)
        if (plan(i).members(row).size() > 1) visit(input_.begin(i), output_.begin(i) + row, plan(i).members(row));
    }
  }

  /// Of y = s M / |s|, s the weighted sum and M the length of the longest member k: grad_y becomes the gradient of s,
  /// and that of x_k by way of M is added.
  static void restored_backward(const MatrixRef<Scalar>& x, Index first, Index out,
                                std::span<const Member<Scalar>> members, Matrix<Scalar>& grad_y,
                                Matrix<Scalar>& grad_x) {
    Matrix<Scalar> sum = Matrix<Scalar>::Zero(1, x.cols());
    for (const Member<Scalar>& member : members)
      kernels::add_scaled(x.cols(), member.weight, x.row(first + member.token).data(), sum.data());
    const Scalar own = length(sum, 0);
    if (!(own > 0)) return;
    const Index k = longest(x, first, members);
    const Scalar most = length(x, k), along = kernels::dot(x.cols(), grad_y.row(out).data(), sum.data()) / own;
    if (most > 0) kernels::add_scaled(x.cols(), along / most, x.row(k).data(), grad_x.row(k).data());
    grad_y.row(out) *= most / own;
    kernels::add_scaled(x.cols(), -along * most / (own * own), sum.data(), grad_y.row(out).data());
  }

  static bool is_copy(std::span<const Member<Scalar>> members) {
    return members.size() == 1 && members[0].weight == Scalar{1};
  }

  /// Calls visit(token, row, share of the row in the token's value); the shares of a token add up to 1.
  template <class Visit>
  void for_each_share(Visit&& visit) const {
    Vector<Scalar> sums(input_.total(), Scalar{0});
    for_each_row([&](Index first, Index, std::span<const Member<Scalar>> members) {
      for (const Member<Scalar>& member : members) sums[first + member.token] += member.weight;
    });
    for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      for (const Member<Scalar>& member : members) {
        const Scalar sum = sums[first + member.token];
        if (sum != Scalar{0}) visit(first + member.token, out, member.weight / sum);
      }
    });
  }

  Vector<MergePlan<Scalar>> plans_;
  SequenceOffsets input_, output_;
};

/// The batch that the plans make of `batch`; positions are those of the representatives.
/// @throws std::invalid_argument if a plan does not fit its sequence
template <Real Scalar>
RaggedBatch<Scalar> compact(const RaggedBatch<Scalar>& batch, Vector<MergePlan<Scalar>> plans) {
  const Compaction<Scalar> compaction(std::move(plans), batch.offsets);
  return {compaction.compact(batch.values), compaction.output_offsets(),
          compaction.pick(std::span<const Position>(batch.positions))};
}

}  // namespace merganser::merge
