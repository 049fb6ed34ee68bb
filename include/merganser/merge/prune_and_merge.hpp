// The least important tokens are dropped, and the next ones join the most alike of the rest.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_math.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/ranking.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// By what attention says how important a token is, averaged over heads.
enum class Importance {
  received,     ///< what the token receives from all
  class_token,  ///< what it receives from the first token, which stays
};

/// All n tokens in the order in which they stay: the first `protected_rows`, then the others by importance, of equal
/// ones the first.
/// @throws std::invalid_argument if the tokens do not stand behind attention
template <Real Scalar>
Vector<Index> order_of_importance(const Tokens<Scalar>& tokens, Importance importance, Index protected_rows) {
  if (tokens.count() == 0) return {};
  const Matrix<Scalar> heads = importance == Importance::class_token ? tokens.attention_of(0) : tokens.received();
  Vector<Scalar> scores(tokens.count() - protected_rows, Scalar{0});
  for (Index head = 0; head < heads.rows(); ++head)
    for (Index i = 0; i < scores.size(); ++i) scores[i] += heads(head, protected_rows + i);
  Vector<Index> order = apart(protected_rows);
  for (const Index i : ranked<Scalar>(scores)) order.push_back(protected_rows + i);
  return order;
}

/// How many tokens of an order stay, and how many are there before the others are merged.
struct PruneCounts {
  Index protected_rows = 0;  ///< that nobody joins
  Index unpruned = 0;        ///< all behind so many are dropped
  Index kept = 0;            ///< those from here to there join others: at most `unpruned`
};

/// Whether tokens that go lose their rows.
enum class Going {
  gone,
  staying,  ///< they keep them, as they were: a soft form, in which those that are joined change already
};

namespace detail {

/// `sizes` [n]: of a token that others join, that of its row.
template <Real Scalar>
MergePlan<Scalar> plan_of_joins(const Vector<Index>& joins, const Vector<Scalar>& sizes, Going going) {
  MergePlan<Scalar> merged = plan_of_targets<Scalar>(joins);
  const Vector<Index> groups = merged.groups();
  if (going == Going::gone) {
    if (std::count(joins.begin(), joins.end(), Index{-1}) + merged.output_count() == joins.size()) return merged;
    Vector<Scalar> row_sizes(merged.output_count());
    for (Index token = 0; token < joins.size(); ++token)
      if (joins[token] == token) row_sizes[groups[token]] = sizes[token];
    merged.set_sizes(std::move(row_sizes));
    return merged;
  }
  MergePlan<Scalar> plan(joins.size());
  for (Index token = 0; token < joins.size(); ++token) {
    plan.open(token);
    if (joins[token] == token)
      for (const Member<Scalar>& member : merged.members(groups[token])) plan.add(member.token, member.weight);
    else
      plan.add(token);
  }
  plan.set_sizes(sizes);
  return plan;
}

}  // namespace detail

/// A token that joins goes to the one of `order[protected_rows .. kept)` whose vector is most alike, of equal ones the
/// first in that order; where there is none it is dropped. A row is the plain mean of its tokens. Its size is that of
/// the token that is joined, and of each other its size times the cosine of the two, if that is above 0. Cost: of m
/// tokens that join 2 m kept D.
/// @throws std::invalid_argument if the order is not one of all tokens
template <Real Scalar>
MergePlan<Scalar> prune_and_merge(const Tokens<Scalar>& tokens, const Vector<Index>& order, const PruneCounts& counts,
                                  Going going = Going::gone) {
  const Index n = tokens.count();
  check_equal("prune_and_merge", "order.size()", order.size(), n);
  const Vector<Index> stay(order.begin() + std::min(counts.protected_rows, counts.kept), order.begin() + counts.kept),
      from(order.begin() + counts.kept, order.begin() + counts.unpruned);
  Vector<Index> joins = apart(n);
  for (Index rank = counts.unpruned; rank < n; ++rank) joins[order[rank]] = -1;
  Vector<Scalar> sizes;
  for (Index token = 0; token < n; ++token) sizes.push_back(tokens.size(token));
  if (!from.empty()) {
    const Matches<Scalar> matches = match_tokens(unit_rows<Scalar>(tokens.x), from, stay);
    for (Index i = 0; i < from.size(); ++i) {
      const Index target = matches.target[i] < 0 ? -1 : stay[matches.target[i]];
      joins[from[i]] = target;
      if (target >= 0)
        sizes[target] =
            kernels::multiply_add(tokens.size(from[i]), std::max(matches.score[i], Scalar{0}), sizes[target]);
    }
  }
  return detail::plan_of_joins(joins, sizes, going);
}

}  // namespace merganser::merge
