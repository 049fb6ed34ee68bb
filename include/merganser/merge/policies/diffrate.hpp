// Pruning, then merging, at rates that can be learned.
#pragma once

#include <algorithm>
#include <cmath>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/prune_and_merge.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The least important tokens are dropped, and the next ones join the most alike of the rest: see `prune_and_merge`.
///
/// DiffRate (Chen et al. 2023, arXiv 2305.17997), as published for inference, with importance by a class token; without
/// one, tokens are ranked by what they receive from all. `LearnedDiffRate` learns the rates. Stands behind attention.
/// Sizes add up to less than the tokens that merged. Cost: of the class token 2 n H K, else half an attention; and of m
/// tokens that merge 2 m D a token that stays.
struct DiffRate {
  PolicyTraits traits() const {
    return {.needs_class_token = importance == Importance::class_token, .has_budget = true, .reads_attention = true};
  }

  Budget budget = {};         ///< of both together
  double pruned_share = 0.5;  ///< of those that go, in [0, 1]: these are dropped, the others merge
  Importance importance = Importance::received;
  Index protected_rows = 0;  ///< tokens at the beginning that neither go nor are joined

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(pruned_share >= 0 && pruned_share <= 1, "DiffRate", "pruned_share", pruned_share, "in [0, 1]");
    check_argument(protected_rows >= 0, "DiffRate", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), class_rows = importance == Importance::class_token ? 1 : 0;
    const Index first = std::min(std::max(protected_rows, class_rows), n);
    const Index going = std::min(budget.removals(n, tokens.removals), n - first);
    const Index pruned = std::lround(pruned_share * static_cast<double>(going));
    return prune_and_merge<Scalar>(tokens, order_of_importance<Scalar>(tokens, importance, first),
                                   {.protected_rows = first, .unpruned = n - pruned, .kept = n - going});
  }
};

}  // namespace merganser::merge
