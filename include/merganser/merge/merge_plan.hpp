// The one value that says what becomes of every token of a sequence.
#pragma once

#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// For one sequence of n_in tokens that becomes n_out: who goes where, with which weight, and whose place counts.
///
/// Deleting, merging, pooling and clustering are all plans. Output row o is the sum of weight[i] * x[i] over the inputs
/// with group[i] = o; it stands at the position of its representative. An output row without members is a copy of its
/// representative (padding, see Filler).
template <Real Scalar>
struct MergePlan {
  Vector<Index> group;           ///< [n_in] output row of each input row, or -1: dropped
  Vector<Scalar> weight;         ///< [n_in] its weight inside that row
  Vector<Index> representative;  ///< [n_out] input row whose position the output row takes

  Index input_count() const { return group.size(); }
  Index output_count() const { return representative.size(); }

  /// The plan that keeps the given rows as they are and drops all others. `kept` rises, within [0, n_in).
  /// @throws std::invalid_argument if it does not
  static MergePlan keep(std::span<const Index> kept, Index n_in) {
    MergePlan plan;
    plan.group.assign(n_in, -1);
    plan.weight.assign(n_in, Scalar{0});
    Index last = -1;
    for (const Index row : kept) {
      check_argument(row > last && row < n_in, "MergePlan::keep", "kept", row, "rising row numbers below n_in");
      last = row;
      plan.group[row] = plan.output_count();
      plan.weight[row] = Scalar{1};
      plan.representative.push_back(row);
    }
    return plan;
  }

  /// @throws std::invalid_argument if the sizes disagree or an index is out of range
  void check() const {
    check_equal("MergePlan", "weight.size()", weight.size(), group.size());
    for (const Index row : group)
      check_argument(row >= -1 && row < output_count(), "MergePlan", "group", row, "-1 or an output row");
    for (const Index row : representative)
      check_argument(row >= 0 && row < input_count(), "MergePlan", "representative", row, "an input row");
  }

  bool operator==(const MergePlan&) const = default;
};

}  // namespace merganser::merge
