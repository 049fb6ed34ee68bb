// Token fusion: alike tokens become one whose length is kept, or the one of each pair is dropped.
#pragma once

#include <algorithm>
#include <cmath>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Pairs are chosen as in bipartite soft matching: tokens of even number, the sources, are matched with the most alike
/// of odd number, and the closest pairs become one row. At most half of the tokens go.
///
/// ToFu (Kim et al. 2023, arXiv 2312.01026): where a layer is far from linear, as early ones are, the source is
/// dropped; elsewhere the two become their mean, scaled to the length of the longer one, since a mean is shorter than
/// its members. Alike are keys, averaged over heads, or in front of a block the vectors themselves. Cost: n^2 K / 2.
struct ToFu {
  /// What becomes of a pair.
  enum class Fusion {
    scaled_mean,  ///< the mean by sizes, scaled to the length of the longest token of the row
    mean,         ///< the mean by sizes
    pruned,       ///< the token of odd number stays as it is
  };
  /// The length that a scaled mean is said to have.
  enum class NormScale {
    of_mean,    ///< its own, so that its length becomes that of the longest
    published,  ///< that of the token of odd number, as in published code: the mean times longest / that, which is not
                ///< the length of the longest. The factor is a constant to the gradient; it is 1 where that token is 0
  };

  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};  ///< of the policy itself, where the call asks for nothing
  Fusion fusion = Fusion::scaled_mean;
  NormScale norm_scale = NormScale::of_mean;  ///< of `Fusion::scaled_mean`
  Index protected_rows = 0;  ///< tokens at the beginning that neither go nor are joined, such as a class token

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "ToFu", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count();
    Vector<Index> joins = bipartite_joins(matched_rows(tokens), protected_rows, budget.removals(n, tokens.removals));
    if (fusion == Fusion::pruned)
      for (Index t = 0; t < n; ++t)
        if (joins[t] != t) joins[t] = -1;
    MergePlan<Scalar> plan = plan_of_targets<Scalar>(joins, tokens.sizes);
    if (fusion != Fusion::scaled_mean) return plan;
    if (norm_scale == NormScale::published) return scaled(plan, joins, tokens.x);
    plan.set_combine(Combine::restored_norm);
    return plan;
  }

 private:
  /// The weights of every row times the length of its longest member over that of the token that the others join.
  template <Real Scalar>
  static MergePlan<Scalar> scaled(const MergePlan<Scalar>& plan, const Vector<Index>& joins,
                                  const MatrixRef<Scalar>& x) {
    MergePlan<Scalar> result(plan.input_count());
    result.reserve(plan.output_count(), plan.input_count());
    for (Index row = 0; row < plan.output_count(); ++row) {
      Scalar longest = 0, joined = 0;
      for (const Member<Scalar>& member : plan.members(row)) {
        const Scalar* const vector = x.row(member.token).data();
        const Scalar length = std::sqrt(kernels::dot(x.cols(), vector, vector));
        longest = std::max(longest, length);
        if (joins[member.token] == member.token) joined = length;
      }
      const Scalar factor = plan.members(row).size() > 1 && joined > 0 ? longest / joined : Scalar{1};
      result.open(plan.representatives()[row]);
      for (const Member<Scalar>& member : plan.members(row)) result.add(member.token, member.weight * factor);
    }
    return result;
  }
};

}  // namespace merganser::merge
