// Carrying out merge plans: rows together, rows back, and the gradients of both.
#pragma once

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
      plan(i).check();
      output_.push_back(plan(i).output_count());
      Vector<bool> has_member(plan(i).output_count(), false);
      for (const Index row : plan(i).group)
        if (row >= 0) has_member[row] = true;
      for (Index row = 0; row < plan(i).output_count(); ++row)
        if (!has_member[row])
          copies_.push_back({output_.begin(i) + row, input_.begin(i) + plan(i).representative[row]});
    }
  }

  const SequenceOffsets& input_offsets() const { return input_; }
  const SequenceOffsets& output_offsets() const { return output_; }
  const MergePlan<Scalar>& plan(Index sequence) const { return plans_[sequence]; }

  /// Output rows that are copies of their representative, because nothing was merged into them. Rising.
  Vector<Index> memberless_rows() const {
    Vector<Index> rows;
    for (const Copy& copy : copies_) rows.push_back(copy.out);
    return rows;
  }

  /// x [T_in x D] to its merged rows [T_out x D].
  Matrix<Scalar> compact(const MatrixRef<Scalar>& x) const {
    check_equal("Compaction::compact", "x.rows()", x.rows(), input_.total());
    Matrix<Scalar> y = Matrix<Scalar>::Zero(output_.total(), x.cols());
    for_each_member([&](Index in, Index out, Scalar weight) {
      kernels::add_scaled(x.cols(), weight, x.row(in).data(), y.row(out).data());
    });
    for (const Copy& copy : copies_) y.row(copy.out) = x.row(copy.in);
    return y;
  }

  /// Gradient of `compact`: grad_y [T_out x D] to [T_in x D]; dropped rows get 0.
  Matrix<Scalar> compact_backward(const MatrixRef<Scalar>& grad_y) const {
    check_equal("Compaction::compact_backward", "grad_y.rows()", grad_y.rows(), output_.total());
    Matrix<Scalar> grad_x = Matrix<Scalar>::Zero(input_.total(), grad_y.cols());
    for_each_member([&](Index in, Index out, Scalar weight) {
      kernels::add_scaled(grad_y.cols(), weight, grad_y.row(out).data(), grad_x.row(in).data());
    });
    for (const Copy& copy : copies_) grad_x.row(copy.in) += grad_y.row(copy.out);
    return grad_x;
  }

  /// Back to the full length: every input row takes the value of its group; dropped rows are 0.
  Matrix<Scalar> expand(const MatrixRef<Scalar>& y) const {
    check_equal("Compaction::expand", "y.rows()", y.rows(), output_.total());
    Matrix<Scalar> x = Matrix<Scalar>::Zero(input_.total(), y.cols());
    for_each_member([&](Index in, Index out, Scalar) { x.row(in) = y.row(out); });
    return x;
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
      for (const Index row : plan(i).representative) rows.push_back(input_.begin(i) + row);
    return rows;
  }

 private:
  struct Copy {
    Index out, in;
  };

  template <class Visit>
  void for_each_member(Visit&& visit) const {
    for (Index i = 0; i < input_.count(); ++i) {
      const MergePlan<Scalar>& p = plan(i);
      for (Index row = 0; row < p.group.size(); ++row)
        if (p.group[row] >= 0) visit(input_.begin(i) + row, output_.begin(i) + p.group[row], p.weight[row]);
    }
  }

  Vector<MergePlan<Scalar>> plans_;
  SequenceOffsets input_, output_;
  Vector<Copy> copies_;
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
