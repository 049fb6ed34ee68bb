// Planners for tests: what a user of the library writes to shorten sequences in a way of their own.
#pragma once

#include <algorithm>
#include <optional>

#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::testing {

/// Makes one row of tokens 0 and 1, of 2 and 3, and so on, each with a weight by its size, until enough are gone.
struct PairMerge {
  static constexpr merge::PolicyTraits traits{.has_budget = true};

  merge::Budget budget{.rate = 0.3};

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    const Index pairs = std::min(budget.removals(tokens.count(), tokens.removals), tokens.count() / 2);
    merge::MergePlan<Scalar> plan(tokens.count());
    for (Index pair = 0; pair < pairs; ++pair) {
      const Index first = 2 * pair;
      const Scalar share = tokens.size(first) / (tokens.size(first) + tokens.size(first + 1));
      plan.open(first);
      plan.add(first, share);
      plan.add(first + 1, 1 - share);
    }
    for (Index token = 2 * pairs; token < tokens.count(); ++token) plan.keep(token);
    return plan;
  }
};

/// Drops every third token, from the second one on, whatever a call asks for.
struct DropThirds {
  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    merge::MergePlan<Scalar> plan(tokens.count());
    for (Index token = 0; token < tokens.count(); ++token)
      if (token % 3 != 1) plan.keep(token);
    return plan;
  }
};

/// Drops tokens by lot, as many as it is asked to.
struct DropByLot {
  static constexpr merge::PolicyTraits traits{.has_budget = true};

  merge::Budget budget{.rate = 0.4};

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    const Index n = tokens.count();
    Vector<Index> kept(n);
    for (Index token = 0; token < n; ++token) kept[token] = token;
    for (Index left = budget.removals(n, tokens.removals); left > 0; --left)
      kept.erase(kept.begin() + static_cast<Index>(tokens.rng->below(static_cast<std::uint64_t>(kept.size()))));
    return merge::MergePlan<Scalar>::keeping(kept, n);
  }
};

/// Drops the tokens that attention looked at least, as many as it is asked to.
struct DropUnseen {
  static constexpr merge::PolicyTraits traits{.has_budget = true, .reads_attention = true};

  merge::Budget budget{.rate = 0.4};

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    const Matrix<Scalar> received = tokens.received();
    Vector<Scalar> seen(tokens.count(), Scalar{0});
    for (Index t = 0; t < tokens.count(); ++t)
      for (Index head = 0; head < received.rows(); ++head) seen[t] += received(head, t);
    const Index n = tokens.count();
    return merge::MergePlan<Scalar>::keeping(merge::largest<Scalar>(seen, n - budget.removals(n, tokens.removals)), n);
  }
};

/// Moves nothing.
struct KeepAll {
  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    merge::MergePlan<Scalar> plan(tokens.count());
    for (Index token = 0; token < tokens.count(); ++token) plan.keep(token);
    return plan;
  }
};

}  // namespace merganser::testing
