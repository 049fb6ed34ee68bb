// Tokens gather softly around the centres near their place.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/squared_distance.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A grid of centres over the grid of tokens (text: one row of both). A token shares itself out among the centres of
/// the window around its own cell by softmax(-sharpness |x - centre|^2), and a centre is the mean of its shares, anew
/// in every round; it starts as the mean of its cell. Rows stand at the first places of their cells.
///
/// Expedit: Liang et al. 2022, arXiv 2210.01035, with `NearestCentres` as the way back. Cost: 2 n W^2 D a round, of
/// text 2 n W D, with a window of W.
struct LocalClusters {
  static constexpr PolicyTraits traits{.has_budget = true};

  Budget budget = {};         ///< of the policy itself, where neither the call nor `cluster_rows` says a number
  Index columns = 0;          ///< tokens in a row of the grid; 0: all
  Index cluster_rows = 0;     ///< centres in a column of their grid; 0: by the budget, in the proportions of the tokens
  Index cluster_columns = 0;  ///< centres in a row, likewise
  Index window = 5;           ///< centres in both directions that a token sees, odd
  Index rounds = 5;           ///< at least 1
  double sharpness = 0.05;    ///< positive; high is nearly hard

  /// @throws std::invalid_argument if a setting is out of range or the tokens do not fill the grid
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    const Index n = tokens.count();
    check(n);
    const Grids grids = grids_of(n, tokens.removals);
    if (grids.centres() >= n) return everything<Scalar>(n);
    Matrix<Scalar> centres = start(tokens.x, grids);
    Shares<Scalar> shares;
    for (Index round = 0; round < rounds; ++round) {
      shares = share_out(tokens.x, centres, grids);
      centres = means(tokens, shares, grids);
    }
    return planned(tokens, shares, grids);
  }

 private:
  /// Extents of the tokens and of the centres.
  struct Grids {
    Index height, width;  ///< of tokens
    Index rows, columns;  ///< of centres

    Index centres() const { return rows * columns; }
    /// The first token of a centre's cell.
    Index first(Index centre) const {
      return (centre / columns * height + rows - 1) / rows * width + (centre % columns * width + columns - 1) / columns;
    }
    Index row_of(Index token) const { return token / width * rows / height; }
    Index column_of(Index token) const { return token % width * columns / width; }
  };

  /// What each token gives to the centres that it sees: token t to shares[t seen + i], of the i-th of its window.
  template <Real Scalar>
  struct Shares {
    Index seen = 0;
    Vector<Index> centres;   ///< -1 behind the last that a token sees
    Vector<Scalar> amounts;  ///< of a token 1 in all
  };

  void check(Index n) const {
    constexpr const char* here = "LocalClusters";
    check_argument(columns >= 0, here, "columns", columns, "at least 0");
    check_argument(cluster_rows >= 0, here, "cluster_rows", cluster_rows, "at least 0");
    check_argument(cluster_columns >= 0, here, "cluster_columns", cluster_columns, "at least 0");
    check_argument((cluster_rows > 0) == (cluster_columns > 0), here, "cluster_rows and cluster_columns", "one of them",
                   "both or none");
    check_argument(window >= 1 && window % 2 == 1, here, "window", window, "an odd number");
    check_argument(rounds >= 1, here, "rounds", rounds, "at least 1");
    check_argument(sharpness > 0 && std::isfinite(sharpness), here, "sharpness", sharpness, "a positive number");
    check_argument(columns == 0 || n % columns == 0, here, "tokens", n, "whole rows of the grid");
  }

  Grids grids_of(Index n, std::optional<Index> asked) const {
    const Index width = columns > 0 ? columns : std::max<Index>(n, 1), height = n / width;
    if (cluster_rows > 0 && !asked)
      return {height, width, std::min(cluster_rows, height), std::min(cluster_columns, width)};
    const Index kept = n - budget.removals(n, asked);
    const double proportion = static_cast<double>(height) / static_cast<double>(width);
    const Index rows = std::clamp<Index>(std::lround(std::sqrt(static_cast<double>(kept) * proportion)),
                                         std::min<Index>(1, height), std::max<Index>(std::min(height, kept), 0));
    return {height, width, rows, rows > 0 ? std::min(width, kept / rows) : 0};
  }

  template <Real Scalar>
  static MergePlan<Scalar> everything(Index n) {
    MergePlan<Scalar> plan(n);
    for (Index t = 0; t < n; ++t) plan.keep(t);
    return plan;
  }

  /// The means of all tokens that a centre's part of the grid touches.
  template <Real Scalar>
  static Matrix<Scalar> start(const MatrixRef<Scalar>& x, const Grids& grids) {
    Matrix<Scalar> centres = Matrix<Scalar>::Zero(grids.centres(), x.cols());
    for (Index c = 0; c < grids.centres(); ++c) {
      const Index i = c / grids.columns, j = c % grids.columns;
      const Index top = i * grids.height / grids.rows, left = j * grids.width / grids.columns;
      const Index bottom = ((i + 1) * grids.height + grids.rows - 1) / grids.rows;
      const Index right = ((j + 1) * grids.width + grids.columns - 1) / grids.columns;
      const Scalar share = 1 / static_cast<Scalar>((bottom - top) * (right - left));
      for (Index row = top; row < bottom; ++row)
        for (Index column = left; column < right; ++column)
          kernels::add_scaled(x.cols(), share, x.row(row * grids.width + column).data(), centres.row(c).data());
    }
    return centres;
  }

  template <Real Scalar>
  Shares<Scalar> share_out(const MatrixRef<Scalar>& x, const Matrix<Scalar>& centres, const Grids& grids) const {
    const Index n = x.rows(), reach = window / 2;
    const auto beta = static_cast<Scalar>(sharpness);
    Shares<Scalar> shares{std::min(window, grids.rows) * std::min(window, grids.columns), {}, {}};
    shares.centres.assign(n * shares.seen, -1);
    shares.amounts.assign(n * shares.seen, Scalar{0});
    for (Index t = 0; t < n; ++t) {
      Index seen = t * shares.seen;
      const Index row = grids.row_of(t), column = grids.column_of(t), begin = seen;
      Scalar nearest = std::numeric_limits<Scalar>::infinity(), sum = 0;
      for (Index i = std::max<Index>(row - reach, 0); i <= std::min(row + reach, grids.rows - 1); ++i)
        for (Index j = std::max<Index>(column - reach, 0); j <= std::min(column + reach, grids.columns - 1); ++j) {
          const Index c = i * grids.columns + j;
          shares.centres[seen] = c;
          shares.amounts[seen] = squared_distance(x.cols(), x.row(t).data(), centres.row(c).data());
          nearest = std::min(nearest, shares.amounts[seen++]);
        }
      for (Index i = begin; i < seen; ++i) sum += shares.amounts[i] = std::exp(beta * (nearest - shares.amounts[i]));
      for (Index i = begin; i < seen; ++i) shares.amounts[i] /= sum;
    }
    return shares;
  }

  /// Calls visit(token, centre, what the token gives it, by its size).
  template <Real Scalar, class Visit>
  static void for_each_share(const Tokens<Scalar>& tokens, const Shares<Scalar>& shares, Visit&& visit) {
    for (Index t = 0; t < tokens.count(); ++t)
      for (Index i = t * shares.seen; i < (t + 1) * shares.seen && shares.centres[i] >= 0; ++i)
        if (shares.amounts[i] > 0) visit(t, shares.centres[i], shares.amounts[i] * tokens.size(t));
  }

  template <Real Scalar>
  static Vector<Scalar> totals(const Tokens<Scalar>& tokens, const Shares<Scalar>& shares, const Grids& grids) {
    Vector<Scalar> sums(grids.centres(), Scalar{0});
    for_each_share(tokens, shares, [&](Index, Index c, Scalar amount) { sums[c] += amount; });
    return sums;
  }

  /// A centre that nobody gives anything becomes its first token.
  template <Real Scalar>
  static Matrix<Scalar> means(const Tokens<Scalar>& tokens, const Shares<Scalar>& shares, const Grids& grids) {
    const Vector<Scalar> sums = totals(tokens, shares, grids);
    Matrix<Scalar> centres = Matrix<Scalar>::Zero(grids.centres(), tokens.x.cols());
    for_each_share(tokens, shares, [&](Index t, Index c, Scalar amount) {
      kernels::add_scaled(tokens.x.cols(), amount / sums[c], tokens.x.row(t).data(), centres.row(c).data());
    });
    for (Index c = 0; c < grids.centres(); ++c)
      if (!(sums[c] > 0)) centres.row(c) = tokens.x.row(grids.first(c));
    return centres;
  }

  template <Real Scalar>
  static MergePlan<Scalar> planned(const Tokens<Scalar>& tokens, const Shares<Scalar>& shares, const Grids& grids) {
    Vector<Scalar> sizes = totals(tokens, shares, grids);
    Vector<Vector<Member<Scalar>>> members(grids.centres());
    for_each_share(tokens, shares, [&](Index t, Index c, Scalar amount) {
      members[c].push_back({t, amount / sizes[c]});
    });
    MergePlan<Scalar> plan(tokens.count());
    for (Index c = 0; c < grids.centres(); ++c) {
      plan.open(grids.first(c));
      for (const Member<Scalar>& member : members[c]) plan.add(member.token, member.weight);
      if (sizes[c] > 0) continue;
      plan.add(grids.first(c));
      sizes[c] = tokens.size(grids.first(c));
    }
    plan.set_sizes(std::move(sizes));
    return plan;
  }
};

}  // namespace merganser::merge
