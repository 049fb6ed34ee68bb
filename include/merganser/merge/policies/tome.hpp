// Token merging by matching alike tokens.
#pragma once

#include <cstdint>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

template <Real Scalar>
MergePlan<Scalar> joined(const Vector<Index>& joins, const Tokens<Scalar>& tokens, Combine combine) {
  MergePlan<Scalar> plan = plan_of_targets<Scalar>(joins, tokens.sizes);
  plan.set_combine(combine);
  return plan;
}

}  // namespace detail

/// Bipartite soft matching: tokens of even number are matched with the most alike of odd number, and the pairs that are
/// most alike become one row, their mean by sizes. At most half of the tokens go.
///
/// Alike are tokens whose keys, averaged over heads, have the largest cosine; in front of a block, where there are no
/// keys, their vectors. Published between attention and feed-forward of every block, with proportional attention
/// (`SizeBias::log_size`). ToMe: Bolya et al. 2023, arXiv 2210.09461, section 3. Cost: n^2 K / 2.
struct ToMe {
  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};  ///< of the policy itself, where the call asks for nothing
  Combine combine = Combine::weighted_sum;
  Index protected_rows = 0;  ///< tokens at the beginning that neither go nor are joined, such as a class token

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "ToMe", "protected_rows", protected_rows, "at least 0");
    const Vector<Index> joins =
        bipartite_joins(matched_rows(tokens), protected_rows, budget.removals(tokens.count(), tokens.removals));
    return detail::joined(joins, tokens, combine);
  }
};

/// Every k-th token stays, and all others join the most alike of those; what does not fill k tokens at the end stays.
/// A variant in the code of ToMe.
struct ToMeEveryKth {
  static constexpr PolicyTraits traits{.reads_attention = true};

  Index k = 2;  ///< at least 2
  Combine combine = Combine::weighted_sum;

  /// @throws std::invalid_argument if k is below 2
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(k >= 2, "ToMeEveryKth", "k", k, "at least 2");
    const Index n = tokens.count();
    Vector<Index> from, to;
    for (Index i = 0; i < n / k * k; ++i) (i % k == k - 1 ? to : from).push_back(i);
    Vector<Index> joins = apart(n);
    join_closest(matched_rows(tokens), from, to, from.size(), joins);
    return detail::joined(joins, tokens, combine);
  }
};

/// Tokens drawn at random join the most alike of the others. A control in the code of ToMe: it chooses whom to join,
/// not who goes.
struct ToMeRandom {
  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};
  Combine combine = Combine::weighted_sum;

  /// @throws std::invalid_argument if the call has no generator
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(tokens.rng != nullptr, "ToMeRandom", "rng", "none", "a generator");
    Vector<Index> order = apart(tokens.count());
    for (Index i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<Index>(tokens.rng->below(static_cast<std::uint64_t>(i)))]);
    return plan_in_order(tokens, order);
  }

  /// With the first tokens of a permutation as those that go.
  template <Real Scalar>
  MergePlan<Scalar> plan_in_order(const Tokens<Scalar>& tokens, const Vector<Index>& order) const {
    const Index n = tokens.count(), gone = budget.removals(n, tokens.removals);
    check_equal("ToMeRandom", "order.size()", order.size(), n);
    Vector<Index> from(order.begin(), order.begin() + gone), to(order.begin() + gone, order.end());
    Vector<Index> joins = apart(n);
    join_closest(matched_rows(tokens), from, to, gone, joins);
    return detail::joined(joins, tokens, combine);
  }
};

}  // namespace merganser::merge
