// Tokens join a neighbour that is nearly the same: merging for text, where order matters.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A token joins the most alike of the `reach` tokens in front of it: the tokens for which that is most alike, as many
/// as the budget says, or without one all whose cosine is at least `least`. Chains of them become one row, their mean
/// by sizes, at the place of the first. Order is kept, and the cost is n reach D: linear in the length.
///
/// Adjacent merging (Li et al. 2023, arXiv 2306.16009) and local merging (Goetz et al. 2024, arXiv 2405.17951), which
/// restrict the matching of ToMe (Bolya et al. 2023) to neighbours. Theirs pairs even tokens with odd ones, so that at
/// most half of the tokens go at one place; chains let one place reach any rate.
struct LocalMerging {
  Budget budget = {};                ///< of the policy itself, where the call asks for nothing
  std::optional<double> least = {};  ///< cosine; in place of a budget
  Index reach = 1;                   ///< at least 1

  PolicyTraits traits() const { return {.is_causal = least.has_value(), .has_budget = true}; }

  /// @throws std::invalid_argument if a setting is out of range, or there are a budget and a least cosine
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(reach >= 1, "LocalMerging", "reach", reach, "at least 1");
    check_argument(!(least && (budget.rate || budget.tokens)), "LocalMerging", "budget and least", "both",
                   "one of them");
    const Index n = tokens.count();
    const Matrix<Scalar> unit = unit_rows<Scalar>(tokens.x);
    Vector<Index> target(n, 0);
    Vector<Scalar> alike(n, -std::numeric_limits<Scalar>::infinity());  // the first has nobody in front of it
    for (Index i = 1; i < n; ++i)
      for (Index j = i - 1; j >= std::max<Index>(i - reach, 0); --j) {
        const Scalar value = kernels::dot(unit.cols(), unit.row(i).data(), unit.row(j).data());
        if (!(value > alike[i])) continue;
        alike[i] = value;
        target[i] = j;
      }
    Vector<Index> joins = apart(n);
    if (least && !tokens.removals) {
      for (Index i = 1; i < n; ++i)
        if (alike[i] >= static_cast<Scalar>(*least)) joins[i] = target[i];
    } else {
      for (const Index i : largest<Scalar>(alike, budget.removals(n, tokens.removals)))
        if (i > 0) joins[i] = target[i];
    }
    return plan_of_targets<Scalar>(joins, tokens.sizes);
  }
};

}  // namespace merganser::merge
