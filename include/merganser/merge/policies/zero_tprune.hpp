// Pruning by how important attention makes a token, as a walk along it finds, and by likeness.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/ranking.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// How important tokens are in each head; of every head they add up to 1, where its weights do.
template <Real Scalar>
struct TokenRanks {
  Matrix<Scalar> early;  ///< [H x n] behind one step of the walk
  Matrix<Scalar> late;   ///< [H x n] behind all of them
};

/// Tokens of which some may go for being like others.
template <Real Scalar>
struct LikenessGroups {
  Vector<Index> more, less;  ///< important
  Matches<Scalar> matches;   ///< of the latter with the former
};

/// A token is important if important tokens attend to it: weighted page rank over the attention of each head. First
/// tokens go that are like a more important one, then those of least importance.
///
/// - Likeness: tokens in the order of their rank behind one step, averaged over heads; each of the less important half
///   is matched with the most alike of the other half, by keys, and those that are most alike go.
/// - Importance: the root mean square over heads, which lets a head that is sure count for more, of those heads whose
///   ranks, times n, have a variance within bounds; of all heads where there is none.
///
/// Zero-TPrune (Wang et al. 2024, arXiv 2305.17328), from the formulas of the paper. A token that goes is dropped.
/// Stands behind attention, and asks it for the weights [n x n] of one head at a time, as no other policy does. Cost:
/// an attention, 2 n^2 H a step, and n^2 K / 2 for likeness.
struct ZeroTPrune {
  enum class Start {
    even,         ///< all tokens weigh the same at first
    class_token,  ///< the first token, which stays, sqrt(n) times as much as another; as published
  };

  PolicyTraits traits() const {
    return {.needs_class_token = start == Start::class_token, .has_budget = true, .reads_attention = true};
  }

  Budget budget = {};
  double alike_share = 0.5;  ///< of those that go, in [0, 1]: by likeness, at most half of all tokens; others by rank
  Index steps = 30;          ///< of the walk; published: many in early layers, few in later ones
  double least_variance = 0.01;
  double largest_variance = 0.7;
  Start start = Start::even;
  Index protected_rows = 0;  ///< tokens at the beginning that stay, whatever their rank

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check();
    const Index n = tokens.count(), class_rows = start == Start::class_token ? 1 : 0;
    const Index first = std::min(std::max(protected_rows, class_rows), n);
    const Index going = std::min(budget.removals(n, tokens.removals), n - first);
    if (going == 0) return MergePlan<Scalar>::keeping(apart(n), n);
    const TokenRanks<Scalar> ranks = rank(tokens);
    Vector<std::uint8_t> gone(n, 0);
    const Index by_likeness = std::min<Index>(std::lround(alike_share * static_cast<double>(going)), (n - first) / 2);
    if (by_likeness > 0) {
      const LikenessGroups<Scalar> groups = likeness_groups(tokens, ranks.early, first);
      for (const Index i : largest<Scalar>(groups.matches.score, by_likeness)) gone[groups.less[i]] = 1;
    }
    const Vector<Scalar> importance = root_mean_square<Scalar>(ranks.late, informative<Scalar>(ranks.late));
    Vector<Index> order = ranked<Scalar>(std::span<const Scalar>(importance).subspan(static_cast<std::size_t>(first)));
    for (Index left = going - by_likeness; left > 0; order.pop_back()) {
      std::uint8_t& least = gone[first + order.back()];
      if (least == 0) --left;
      least = 1;
    }
    Vector<Index> kept;
    for (Index token = 0; token < n; ++token)
      if (gone[token] == 0) kept.push_back(token);
    return MergePlan<Scalar>::keeping(kept, n);
  }

  /// The walk goes along attention: the rank of a token is what it receives, each query weighed by its own rank.
  template <Real Scalar>
  TokenRanks<Scalar> rank(const Tokens<Scalar>& tokens) const {
    check();
    const Index n = tokens.count();
    if (n == 0) return {};
    const Index heads = tokens.attention_of(0).rows();
    TokenRanks<Scalar> ranks{Matrix<Scalar>(heads, n), Matrix<Scalar>(heads, n)};
    const double of_first = start == Start::class_token ? std::sqrt(static_cast<double>(n)) : 1;
    const double all = of_first + static_cast<double>(n - 1);
    for (Index head = 0; head < heads; ++head) {
      const Matrix<Scalar> weights = tokens.weights(head);
      Vector<Scalar> now(n, static_cast<Scalar>(1 / all)), next;
      now[0] = static_cast<Scalar>(of_first / all);
      for (Index step = 0; step < steps; ++step) {
        next.assign(n, Scalar{0});
        for (Index query = 0; query < n; ++query)
          kernels::add_scaled(n, now[query], weights.row(query).data(), next.data());
        std::swap(now, next);
        if (step == 0) std::copy(now.begin(), now.end(), ranks.early.row(head).data());
      }
      std::copy(now.begin(), now.end(), ranks.late.row(head).data());
    }
    return ranks;
  }

  /// The tokens behind the first by their ranks [H x n], the highest first, in halves; of an odd number the greater
  /// half is the more important one.
  template <Real Scalar>
  static LikenessGroups<Scalar> likeness_groups(const Tokens<Scalar>& tokens, const Matrix<Scalar>& ranks,
                                                Index first) {
    const Vector<Scalar> importance = root_mean_square<Scalar>(ranks);
    Vector<Index> order = ranked<Scalar>(std::span<const Scalar>(importance).subspan(static_cast<std::size_t>(first)));
    for (Index& token : order) token += first;
    const Index more = order.size() - order.size() / 2;
    LikenessGroups<Scalar> groups{{order.begin(), order.begin() + more}, {order.begin() + more, order.end()}, {}};
    groups.matches = match_tokens(matched_rows(tokens), groups.less, groups.more);
    return groups;
  }

  /// [H] the variance of the ranks [H x n] of each head, times n, so that their mean is 1 whatever the length.
  template <Real Scalar>
  static Vector<double> variances(const Matrix<Scalar>& ranks) {
    Vector<double> result;
    const auto n = static_cast<double>(ranks.cols());
    for (Index head = 0; head < ranks.rows(); ++head) {
      double mean = 0, squares = 0;
      for (Index t = 0; t < ranks.cols(); ++t) mean += static_cast<double>(ranks(head, t));
      for (Index t = 0; t < ranks.cols(); ++t) {
        const double distance = kernels::multiply_add(n, static_cast<double>(ranks(head, t)), -mean);
        squares = kernels::multiply_add(distance, distance, squares);
      }
      result.push_back(n > 0 ? squares / n : 0);
    }
    return result;
  }

  /// The heads whose variance is within the bounds; all, if none is.
  template <Real Scalar>
  Vector<Index> informative(const Matrix<Scalar>& ranks) const {
    Vector<Index> heads;
    const Vector<double> variance = variances<Scalar>(ranks);
    for (Index head = 0; head < variance.size(); ++head)
      if (variance[head] >= least_variance && variance[head] <= largest_variance) heads.push_back(head);
    return heads.empty() ? apart(variance.size()) : heads;
  }

  /// [n] over some heads of ranks [H x n]; none named: all.
  template <Real Scalar>
  static Vector<Scalar> root_mean_square(const Matrix<Scalar>& ranks, const Vector<Index>& heads = {}) {
    const Index count = heads.empty() ? ranks.rows() : heads.size();
    Vector<Scalar> result(ranks.cols(), Scalar{0});
    for (Index i = 0; i < count; ++i)
      for (Index t = 0; t < ranks.cols(); ++t) {
        const Scalar rank = ranks(heads.empty() ? i : heads[i], t);
        result[t] = kernels::multiply_add(rank, rank, result[t]);
      }
    for (Scalar& value : result) value = std::sqrt(value / static_cast<Scalar>(count));
    return result;
  }

 private:
  void check() const {
    check_argument(alike_share >= 0 && alike_share <= 1, "ZeroTPrune", "alike_share", alike_share, "in [0, 1]");
    check_argument(steps >= 1, "ZeroTPrune", "steps", steps, "at least 1");
    check_argument(least_variance <= largest_variance, "ZeroTPrune", "least_variance", least_variance,
                   "at most the largest");
    check_argument(protected_rows >= 0, "ZeroTPrune", "protected_rows", protected_rows, "at least 0");
  }
};

}  // namespace merganser::merge
