// Token merging that protects what is informative.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/ranking.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A token that is like many others has a high energy, and of the 2 r of highest energy r join the others; tokens of
/// low energy, of which there are few like, stay as they are.
///
/// PiToMe (Tran et al. 2024, arXiv 2405.16148). Alike are keys, averaged over heads, or in front of a block the vectors
/// themselves. Cost: 2 n^2 K.
struct PiToMe {
  /// The energy of a token is the mean over all of a function of the cosine s.
  enum class Energy {
    elu,       ///< s - margin, below 0 alpha (e^(s - margin) - 1): for vision
    gaussian,  ///< the density at 1 - s with deviation 1 - margin: for text
  };
  /// Who joins whom.
  enum class Pairing {
    alternating,  ///< of the 2 r, those of odd rank join those of even rank: for vision
    halves,       ///< the r of highest energy join the r behind them: for text
    bipartite,    ///< all tokens of odd rank are matched with those of even rank, and the r closest pairs merge: the
                  ///< variant for early layers
  };
  /// What becomes of those that join.
  enum class Sources { merged, dropped };

  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};
  double margin = 0.5;  ///< below 1: cosines above it are alike. Published: 0.9 - 0.9 block / blocks
  double alpha = 1.0;
  Energy energy = Energy::gaussian;
  Pairing pairing = Pairing::halves;
  Sources sources = Sources::merged;
  Index protected_rows = 0;  ///< tokens at the beginning that neither go nor are joined

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "PiToMe", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), first = std::min(protected_rows, n), open = n - first;
    const Matrix<Scalar> unit = matched_rows(tokens).bottomRows(open);
    const Vector<Index> order = ranked<Scalar>(energies(unit));
    const Index gone = std::min(budget.removals(n, tokens.removals), open / 2);
    const Index paired = pairing == Pairing::bipartite ? open : 2 * gone;
    Vector<Index> from, to;
    for (Index rank = 0; rank < paired; ++rank) {
      const bool joins = pairing == Pairing::halves ? rank < gone : rank % 2 == 0;
      (joins ? from : to).push_back(order[rank]);
    }
    const Matches<Scalar> matches = match_tokens(unit, from, to);
    Vector<Index> joins = apart(n);
    for (const Index i : largest<Scalar>(matches.score, gone))
      if (matches.target[i] >= 0)  // none where products are no numbers
        joins[first + from[i]] = sources == Sources::dropped ? -1 : first + to[matches.target[i]];
    return plan_of_targets<Scalar>(joins, tokens.sizes);
  }

  /// [n] of unit rows [n x K], by blocks of rows: no matrix [n x n] is made.
  /// @throws std::invalid_argument if the margin is not below 1
  template <Real Scalar>
  Vector<Scalar> energies(const Matrix<Scalar>& unit) const {
    constexpr Index block = 64;
    check_argument(margin < 1, "PiToMe", "margin", margin, "below 1");
    const Index n = unit.rows();
    Vector<Scalar> result(n, Scalar{0});
    if (n == 0) return result;
    const kernels::PackedMatrix<Scalar> packed(unit, kernels::Orientation::transposed);
    for (Index begin = 0; begin < n; begin += block) {
      Matrix<Scalar> cosines(std::min(block, n - begin), n);
      kernels::multiply<Scalar>(unit.middleRows(begin, cosines.rows()), packed, cosines);
      for (Index i = 0; i < cosines.rows(); ++i) {
        for (Index j = 0; j < n; ++j)
          result[begin + i] += static_cast<Scalar>(of_cosine(static_cast<double>(cosines(i, j))));
        result[begin + i] /= static_cast<Scalar>(n);
      }
    }
    return result;
  }

 private:
  double of_cosine(double s) const {
    if (energy == Energy::elu) return s > margin ? s - margin : alpha * std::expm1(s - margin);
    constexpr double root_of_two_pi = 2.5066282746310002;
    const double deviation = 1 - margin, z = (1 - s) / deviation;
    return std::exp(-0.5 * z * z) / (deviation * root_of_two_pi);
  }
};

}  // namespace merganser::merge
