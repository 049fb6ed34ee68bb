// Clusters of alike tokens become their means.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/squared_distance.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

/// Clusters of tokens under way: two of sizes a and b whose means lie d apart cost a b / (a + b) d^2 to join, by which
/// the squared distances of all tokens to their means grow. Ward 1963.
template <Real Scalar>
class WardClusters {
 public:
  /// Each row of points [n x D] is one, of these sizes [n], or empty: 1.
  WardClusters(Matrix<Scalar> points, std::span<const Scalar> sizes)
      : means_(std::move(points)), sizes_(sizes.begin(), sizes.end()) {
    sizes_.resize(means_.rows(), Scalar{1});
  }

  Index count() const { return means_.rows(); }

  /// Infinite where it is no number.
  Scalar cost(Index a, Index b) const {
    const Scalar distance = squared_distance<Scalar>(means_.cols(), means_.row(a).data(), means_.row(b).data());
    const Scalar cost = sizes_[a] * sizes_[b] / (sizes_[a] + sizes_[b]) * distance;
    return cost >= 0 ? cost : std::numeric_limits<Scalar>::infinity();
  }

  /// Cluster b becomes a part of a.
  void join(Index a, Index b) {
    const Scalar size = sizes_[a] + sizes_[b], share = sizes_[a] / size;
    for (Index c = 0; c < means_.cols(); ++c) means_(a, c) *= share;
    kernels::add_scaled(means_.cols(), sizes_[b] / size, means_.row(b).data(), means_.row(a).data());
    sizes_[a] = size;
  }

 private:
  Matrix<Scalar> means_;
  Vector<Scalar> sizes_;
};

}  // namespace detail

/// Tokens are joined, at each step the two clusters by which the squared distances of tokens to the means of their
/// clusters grow least (Ward 1963), until so many have gone; a row is the mean of a cluster by sizes.
///
/// Token pooling for vectors that are stored one by one: Clavie et al. 2024, arXiv 2409.14683, behind the last block of
/// an encoder. Cost: n^2 D; of neighbours n^2 + n D. No matrix [n x n] is made.
struct WardPooling {
  enum class Clusters {
    any,         ///< of tokens wherever they stand
    neighbours,  ///< of tokens side by side: segments
  };

  static constexpr PolicyTraits traits{.has_budget = true};

  Budget budget = {.rate = 0.5};
  Clusters clusters = Clusters::any;
  bool unit_length = true;   ///< distances are those of unit vectors, so that cosines count
  Index protected_rows = 0;  ///< tokens at the beginning that stay alone

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "WardPooling", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), first = std::min(protected_rows, n), open = n - first;
    const Index gone = std::min(budget.removals(n, tokens.removals), std::max<Index>(open - 1, 0));
    Vector<Index> joins = apart(n);
    if (gone > 0) {
      const Matrix<Scalar> points = unit_length ? unit_rows<Scalar>(tokens.x) : Matrix<Scalar>(tokens.x);
      std::span<const Scalar> sizes = tokens.sizes;
      if (!sizes.empty()) sizes = sizes.subspan(static_cast<std::size_t>(first));
      detail::WardClusters<Scalar> all(points.bottomRows(open), sizes);
      const auto joined = clusters == Clusters::any ? nearest(all, gone) : adjacent(all, gone);
      for (const auto& [a, b] : joined) joins[first + chained(joins, first, b)] = first + chained(joins, first, a);
    }
    return plan_of_targets<Scalar>(joins, tokens.sizes);
  }

 private:
  using Pairs = Vector<std::pair<Index, Index>>;

  /// The end of a token's chain.
  static Index chained(const Vector<Index>& joins, Index first, Index token) {
    while (joins[first + token] != first + token) token = joins[first + token] - first;
    return token;
  }

  /// `gone` joins of clusters anywhere, each named by a token. By chains of nearest neighbours: two clusters that are
  /// nearest to each other are joined in any case, and all joins are ranked by their cost in the end.
  template <Real Scalar>
  static Pairs nearest(detail::WardClusters<Scalar>& all, Index gone) {
    Vector<Index> alive = apart(all.count()), chain;
    Vector<Scalar> costs;
    Pairs joined;
    while (alive.size() > 1) {
      if (chain.empty()) chain.push_back(alive.front());
      const Index top = chain.back(), before = chain.size() > 1 ? chain[chain.size() - 2] : -1;
      Index best = before >= 0 ? before : alive.front() != top ? alive.front() : alive[1];
      Scalar least = all.cost(top, best);
      for (const Index other : alive) {
        if (other == top) continue;
        const Scalar cost = all.cost(top, other);
        if (cost < least) std::tie(least, best) = std::pair(cost, other);
      }
      if (best != before) {
        chain.push_back(best);
        continue;
      }
      const auto [a, b] = std::minmax(top, before);
      all.join(a, b);
      joined.emplace_back(a, b);
      costs.push_back(least);
      alive.erase(std::lower_bound(alive.begin(), alive.end(), b));
      chain.resize(chain.size() - 2);
    }
    Vector<Index> order = apart(joined.size());
    std::sort(order.begin(), order.end(),
              [&](Index i, Index j) { return costs[i] != costs[j] ? costs[i] < costs[j] : i < j; });
    Pairs cheapest;
    for (Index i = 0; i < gone; ++i) cheapest.push_back(joined[order[i]]);
    return cheapest;
  }

  /// `gone` joins of neighbours, the cheapest first, of equal ones the first.
  template <Real Scalar>
  static Pairs adjacent(detail::WardClusters<Scalar>& all, Index gone) {
    Vector<Index> alive = apart(all.count());
    Vector<Scalar> costs;  // of joining each with the one behind it
    for (Index i = 0; i + 1 < alive.size(); ++i) costs.push_back(all.cost(i, i + 1));
    Pairs joined;
    for (Index step = 0; step < gone; ++step) {
      const Index i = std::min_element(costs.begin(), costs.end()) - costs.begin();
      joined.emplace_back(alive[i], alive[i + 1]);
      all.join(alive[i], alive[i + 1]);
      alive.erase(alive.begin() + i + 1);
      costs.erase(costs.begin() + i);
      if (i > 0) costs[i - 1] = all.cost(alive[i - 1], alive[i]);
      if (i + 1 < alive.size()) costs[i] = all.cost(alive[i], alive[i + 1]);
    }
    return joined;
  }
};

}  // namespace merganser::merge
