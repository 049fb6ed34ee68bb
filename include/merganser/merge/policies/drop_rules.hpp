// Rules that drop tokens without looking at their vectors: controls.
#pragma once

#include <algorithm>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Truncation: the first tokens stay, and as many at the end go as the budget says. Not causal, since who stays hangs
/// on the length. Cost: n.
struct TailDrop {
  static constexpr PolicyTraits traits{.has_budget = true};

  Budget budget = {};  ///< of the policy itself, where the call asks for nothing

  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    const Index n = tokens.count(), kept = n - budget.removals(n, tokens.removals);
    MergePlan<Scalar> plan(n);
    plan.reserve(kept, kept);
    for (Index t = 0; t < kept; ++t) plan.keep(t);
    return plan;
  }
};

/// Tokens whose ids are in a list go, such as stop words or white space. Of a sequence in which nothing else is, the
/// first token stays. Cost: n log m for m ids.
struct StopIds {
  Vector<TokenId> ids = {};  ///< in any order
  Index protected_rows = 0;  ///< tokens at the beginning that stay, whatever their ids

  /// Without a token that always stays the first one may hang on those behind it.
  PolicyTraits traits() const { return {.is_causal = protected_rows > 0}; }

  /// @throws std::invalid_argument if there is not one id a token or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "StopIds", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count();
    check_equal("StopIds", "ids.size()", std::ssize(tokens.ids), n);
    Vector<TokenId> sorted = ids;
    std::sort(sorted.begin(), sorted.end());
    MergePlan<Scalar> plan(n);
    for (Index t = 0; t < n; ++t)
      if (t < protected_rows ||
          !std::binary_search(sorted.begin(), sorted.end(), tokens.ids[static_cast<std::size_t>(t)]))
        plan.keep(t);
    if (plan.output_count() == 0 && n > 0) plan.keep(0);
    return plan;
  }
};

}  // namespace merganser::merge
