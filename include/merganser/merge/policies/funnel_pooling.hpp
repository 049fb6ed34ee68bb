// Groups of a fixed number of tokens become their mean or their largest numbers.
#pragma once

#include <algorithm>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Every `rate` tokens become one, without parameters. Funnel-Transformer (Dai et al. 2020, arXiv 2006.03236), whose
/// first token stands apart. Structural: a model is trained with it.
struct FunnelPooling {
  /// What becomes of a last group that is not whole.
  enum class LastGroup { kept, dropped };

  static constexpr PolicyTraits traits{.is_structural = true, .is_training_free = false};

  Index rate = 2;                           ///< at least 1
  Combine combine = Combine::weighted_sum;  ///< the mean, or the largest numbers
  Index protected_rows = 0;                 ///< tokens at the beginning that are in no group
  LastGroup last_group = LastGroup::kept;   ///< the published code drops it, where told to

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(rate >= 1, "FunnelPooling", "rate", rate, "at least 1");
    check_argument(protected_rows >= 0, "FunnelPooling", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), first = std::min(protected_rows, n);
    MergePlan<Scalar> plan(n);
    plan.set_combine(combine);
    for (Index t = 0; t < first; ++t) plan.keep(t);
    for (Index begin = first; begin < n; begin += rate) {
      const Index members = std::min(rate, n - begin);
      if (members < rate && last_group == LastGroup::dropped && plan.output_count() > 0) break;
      plan.open(begin);
      for (Index t = begin; t < begin + members; ++t) plan.add(t, Scalar{1} / static_cast<Scalar>(members));
    }
    return plan;
  }
};

}  // namespace merganser::merge
