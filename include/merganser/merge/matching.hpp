// Which tokens are alike, and the plan that puts alike ones together.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The rows of x [n x D] divided by their lengths; a row of zeros stays one.
template <Real Scalar>
Matrix<Scalar> unit_rows(const MatrixRef<Scalar>& x) {
  Matrix<Scalar> unit = x;
  for (Index i = 0; i < x.rows(); ++i) {
    const Scalar length = std::sqrt(kernels::dot(x.cols(), x.row(i).data(), x.row(i).data()));
    if (length > 0) unit.row(i) /= length;
  }
  return unit;
}

/// The cosine of the angle between rows a and b of x: 1 of equal directions, 0 where one is zero.
template <Real Scalar>
Scalar cosine(const MatrixRef<Scalar>& x, Index a, Index b) {
  const Scalar* const first = x.row(a).data();
  const Scalar* const second = x.row(b).data();
  const Scalar lengths = kernels::dot(x.cols(), first, first) * kernels::dot(x.cols(), second, second);
  return lengths > 0 ? kernels::dot(x.cols(), first, second) / std::sqrt(lengths) : Scalar{0};
}

/// For each of some rows the most alike of others.
template <Real Scalar>
struct Matches {
  Vector<Index> target;  ///< [m] number of the other, of equal ones the lowest; -1 where there is none
  Vector<Scalar> score;  ///< [m] their product; no others: -infinity
};

/// Of the rows a [m x K] and b [n x K], by their products: cosines, if they are unit rows. In blocks of a, so that no
/// matrix [m x n] is made. Cost: 2 m n K.
template <Real Scalar>
Matches<Scalar> best_matches(const MatrixRef<Scalar>& a, const MatrixRef<Scalar>& b) {
  constexpr Index block = 64;
  check_equal("best_matches", "b.cols()", b.cols(), a.cols());
  Matches<Scalar> matches{Vector<Index>(a.rows(), -1), {}};
  matches.score.assign(a.rows(), -std::numeric_limits<Scalar>::infinity());
  if (b.rows() == 0) return matches;
  const kernels::PackedMatrix<Scalar> packed(b, kernels::Orientation::transposed);
  for (Index first = 0; first < a.rows(); first += block) {
    Matrix<Scalar> products(std::min(block, a.rows() - first), b.rows());
    kernels::multiply<Scalar>(a.middleRows(first, products.rows()), packed, products);
    for (Index i = 0; i < products.rows(); ++i)
      for (Index j = 0; j < b.rows(); ++j)
        if (products(i, j) > matches.score[first + i]) {
          matches.score[first + i] = products(i, j);
          matches.target[first + i] = j;
        }
  }
  return matches;
}

/// The unit rows by which tokens are alike: of keys, where there are some.
template <Real Scalar>
Matrix<Scalar> matched_rows(const Tokens<Scalar>& tokens) {
  return tokens.attention != nullptr ? unit_rows<Scalar>(tokens.mean_keys()) : unit_rows<Scalar>(tokens.x);
}

/// Matches of the tokens `from` with the tokens `to`.
template <Real Scalar>
Matches<Scalar> match_tokens(const Matrix<Scalar>& unit, const Vector<Index>& from, const Vector<Index>& to) {
  Matrix<Scalar> a(from.size(), unit.cols()), b(to.size(), unit.cols());
  for (Index i = 0; i < from.size(); ++i) a.row(i) = unit.row(from[i]);
  for (Index j = 0; j < to.size(); ++j) b.row(j) = unit.row(to[j]);
  return best_matches<Scalar>(a, b);
}

/// Nobody joins anybody.
inline Vector<Index> apart(Index tokens) {
  Vector<Index> joins(tokens);
  std::iota(joins.begin(), joins.end(), Index{0});
  return joins;
}

/// The `count` tokens of largest score, of equal ones the first; rising. What is no number counts as -infinity.
template <Real Scalar>
Vector<Index> largest(std::span<const Scalar> scores, Index count) {
  Vector<Index> order(std::ssize(scores));
  std::iota(order.begin(), order.end(), Index{0});
  const auto score = [&](Index i) {
    const Scalar value = scores[static_cast<std::size_t>(i)];
    return std::isnan(value) ? -std::numeric_limits<Scalar>::infinity() : value;
  };
  const auto before = [&](Index a, Index b) {
    const Scalar x = score(a), y = score(b);
    return x != y ? x > y : a < b;
  };
  count = std::clamp<Index>(count, 0, order.size());
  std::nth_element(order.begin(), order.begin() + count, order.end(), before);
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

/// Tokens by the number where they stand; both rise.
struct EvenAndOdd {
  Vector<Index> even, odd;
};

/// The tokens in [first, tokens).
inline EvenAndOdd even_and_odd(Index first, Index tokens) {
  EvenAndOdd result;
  for (Index token = first; token < tokens; ++token) (token % 2 == 0 ? result.even : result.odd).push_back(token);
  return result;
}

/// Each of the tokens `from` is matched with the most alike of `to`, and of these pairs the `count` that are most alike
/// join: joins[from] becomes the other. Who finds no match, because there is nobody or the products are no numbers,
/// does not join. `rows` as of `match_tokens`.
template <Real Scalar>
void join_closest(const Matrix<Scalar>& rows, const Vector<Index>& from, const Vector<Index>& to, Index count,
                  Vector<Index>& joins) {
  const Matches<Scalar> matches = match_tokens(rows, from, to);
  for (const Index i : largest<Scalar>(matches.score, count))
    if (matches.target[i] >= 0) joins[from[i]] = to[matches.target[i]];
}

/// Bipartite soft matching (Bolya et al. 2023, arXiv 2210.09461): who of the tokens of even number join one of odd
/// number, `count` of them, but at most half of the tokens from `first` on. Those in front of it have no part in it.
template <Real Scalar>
Vector<Index> bipartite_joins(const Matrix<Scalar>& rows, Index first, Index count) {
  const auto [even, odd] = even_and_odd(first, rows.rows());
  Vector<Index> joins = apart(rows.rows());
  join_closest(rows, even, odd, std::min(count, std::max<Index>(rows.rows() - first, 0) / 2), joins);
  return joins;
}

/// The end of the chain of each token that joins[token] begins: its own number where it joins itself, -1 where it is
/// dropped. Cost: one walk over the tokens.
/// @throws std::invalid_argument as `plan_of_targets`
inline Vector<Index> chain_ends(std::span<const Index> joins) {
  constexpr const char* here = "plan_of_targets";
  constexpr Index unknown = -1, walked = -2;
  const Index tokens = std::ssize(joins);
  const auto next = [&](Index token) {
    const Index target = joins[static_cast<std::size_t>(token)];
    check_argument(target >= -1 && target < tokens, here, "joins", target, "tokens of the sequence, or -1");
    return target;
  };
  Vector<Index> ends(tokens, unknown);
  Vector<Index> path;
  for (Index token = 0; token < tokens; ++token) {
    if (next(token) < 0) continue;
    Index end = token;
    path.clear();
    while (ends[end] == unknown && next(end) != end) {
      ends[end] = walked;
      path.push_back(end);
      end = next(end);
      check_argument(next(end) >= 0, here, "joins", end, "a token that is not dropped");
    }
    check_argument(ends[end] != walked, here, "joins", token, "no circle");
    if (ends[end] == unknown) ends[end] = end;
    for (const Index passed : path) ends[passed] = ends[end];
  }
  return ends;
}

/// A plan of "token i becomes part of the row of token joins[i]": of itself, where that is i; -1 drops it.
///
/// Chains are followed to their end. A row of several tokens is their mean, weighed by sizes [n] (or empty: one each),
/// and stands at the place of its first member; rows rise by that.
/// @throws std::invalid_argument if a token joins none of the sequence, one that is dropped, or itself in a circle
template <Real Scalar>
MergePlan<Scalar> plan_of_targets(std::span<const Index> joins, std::span<const Scalar> sizes = {}) {
  const Index tokens = std::ssize(joins);
  if (!sizes.empty()) check_equal("plan_of_targets", "sizes.size()", std::ssize(sizes), tokens);
  const Vector<Index> root = chain_ends(joins);
  Vector<Index> first(tokens, -1);  // of each root the first member
  Vector<Scalar> total(tokens, Scalar{0});
  Vector<Index> count(tokens, 0);
  for (Index token = 0; token < tokens; ++token) {
    const Index end = root[token];
    if (end < 0) continue;
    if (first[end] < 0) first[end] = token;
    total[end] += sizes.empty() ? Scalar{1} : sizes[static_cast<std::size_t>(token)];
    ++count[end];
  }
  Vector<Index> begin(tokens, 0);  // of each root, its members in a list of all
  Vector<Index> roots;             // in the order of their first members
  for (Index token = 0; token < tokens; ++token)
    if (root[token] >= 0 && first[root[token]] == token) roots.push_back(root[token]);
  Index end = 0;
  for (const Index r : roots) begin[r] = std::exchange(end, end + count[r]);
  Vector<Index> members(end, 0), filled(tokens, 0);
  for (Index token = 0; token < tokens; ++token)
    if (root[token] >= 0) members[begin[root[token]] + filled[root[token]]++] = token;
  MergePlan<Scalar> plan(tokens);
  plan.reserve(roots.size(), end);
  for (const Index r : roots) {
    if (count[r] == 1) {
      plan.keep(first[r]);
      continue;
    }
    plan.open(first[r]);
    for (Index i = 0; i < count[r]; ++i) {
      const Index token = members[begin[r] + i];
      plan.add(token, (sizes.empty() ? Scalar{1} : sizes[static_cast<std::size_t>(token)]) / total[r]);
    }
  }
  return plan;
}

}  // namespace merganser::merge
